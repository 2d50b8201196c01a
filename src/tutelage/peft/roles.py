"""Weights of chosen roles alone are trained, wherever they stand: by default those of attention.

Trained parameters: those of the roles. Source: Touvron et al. 2022, arXiv:2203.09795, section 4,
for attention alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight
from tutelage.peft._selective import selective
from tutelage.peft._targets import flag_text, held, layers_of, refuse_unknown


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    roles: tuple[str, ...] | None = None
    """Which, as attn.q, norm or embed; by default those of attention."""
    layers: tuple[int, ...] | None = None
    """In which layers, from 0; None is everywhere."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a layer it
    has not, or where it has no attention and none is named."""
    known = tuple(dict.fromkeys(weight.role for weight in weights if weight.trained))
    refuse_unknown(settings.roles or (), known)
    roles = settings.roles or tuple(role for role in known if role.startswith("attn."))
    if not roles:
        raise ConfigError(
            "the model has no attention, whose weights are trained unless others are named",
            field=flag_text("role"), got=None, expected=f"one of {', '.join(sorted(known))}",
        )  # fmt: skip
    found = Settings(roles=roles, layers=layers_of(settings.layers, weights))
    held(selected(weights, found), weights, roles, found.layers)
    return found


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The weights, biases too, of these roles in these layers."""
    layers = settings.layers
    return [
        weight
        for weight in weights
        if weight.trained
        and weight.role in (settings.roles or ())
        and (layers is None or weight.layer in layers)
    ]


METHOD = selective("roles", Settings, 1.5e-4, resolve, selected)
