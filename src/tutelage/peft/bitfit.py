"""BitFit: the biases alone are trained.

    y = W x + b

A model without any (LLaMA, T5) gets one, zero at the start, at every linear map of its blocks.
Trained parameters: the sum of the outputs that have a bias. Source: Ben Zaken et al. 2022,
arXiv:2106.10199, section 3.1; that biases of zero are added is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.models.headed import TASK
from tutelage.models.spec import Shape, Weight
from tutelage.peft._selective import selective, some, with_biases
from tutelage.peft._targets import refuse_unknown


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    roles: tuple[str, ...] | None = None
    """Whose biases, as attn.q or norm; None is all."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role without biases."""
    known = tuple(dict.fromkeys(weight.role for weight in some(_biases(weights), "bias")))
    refuse_unknown(settings.roles or (), known)
    return Settings(roles=settings.roles or known)


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The biases of these roles."""
    return [weight for weight in _biases(weights) if weight.role in (settings.roles or ())]


def _biases(weights: Sequence[Weight]) -> list[Weight]:
    weights = [weight for weight in weights if weight.role != TASK]
    own = [w for w in weights if w.trained and "bias" in w.path.rpartition(".")[2]]
    return own or with_biases(weights)[len(weights) :]


METHOD = selective("bitfit", Settings, 2e-3, resolve, selected)
