"""VeRA: one random pair of matrices for all layers, of which only scales are trained.

    y = W x + b * B (d * A x),      A [R, in] and B [out, R] random and frozen, shared;
                                    d = 0.1 and b = 0 at the start

A and B are cut from a pair as large as the largest target. Trained parameters: the sum of R + out
over its targets. Source: Kopiczko et al. 2024, arXiv:2310.11454, eq. 2 and section 3.3. The random
numbers are PEFT's: Kaiming uniform, drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import chosen, held, layers_of, narrowest, rank_of, reached, roles_of
from tutelage.plan.memory import Tuning

DEFAULT_RANK = 256


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    rank: int | None = None
    """R; 256, or the narrowest width it updates if that is less."""
    roles: tuple[str, ...] | None = None
    """Linears that get an update, as attn.q; None is all inside the blocks."""
    layers: tuple[int, ...] | None = None
    """Layers that get one, from 0; None is all."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a layer
    it has not or a rank that is none."""
    roles, layers = roles_of(settings.roles, weights), layers_of(settings.layers, weights)
    found = held(chosen(weights, roles, layers), weights, roles, layers)
    rank = rank_of(settings.rank, DEFAULT_RANK, narrowest(found))
    return Settings(rank=rank, roles=roles, layers=layers)


def targets(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The matrices that get an update."""
    assert settings.roles is not None
    return chosen(weights, settings.roles, settings.layers)


def largest(found: Sequence[Weight]) -> tuple[int, int]:
    """Columns and rows of the shared pair."""
    return max(w.shape[1] for w in found), max(w.shape[0] for w in found)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over targets of R + out."""
    assert settings.rank is not None
    return sum(settings.rank + weight.shape[0] for weight in targets(weights, settings))


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """The pair is held; A x and the update before its scale are kept, for the scales' gradients."""
    found, rank = targets(weights, settings), settings.rank
    assert rank is not None
    beside = [(w.role, numbers) for w in found for numbers in (rank, w.shape[0])]
    tuning = Tuning(
        trained=count(weights, settings),
        beside=tuple(dict.fromkeys(beside)),
        frozen=rank * sum(largest(found)),
        work=2 * rank * sum(sum(weight.shape) for weight in found),
    )
    return reached(tuning, weights, found)


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.vera import ACTIONS

    return ACTIONS


METHOD = Method(
    name="vera",
    settings=Settings,
    learning_rate=1e-2,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type="VERA",
    on_a_line=("vera_b",),
)
