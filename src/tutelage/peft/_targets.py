"""Which weights a method works at: chosen by role and layer from the layout, with the refusals that
all methods share."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from tutelage.errors import ConfigError, UnknownName
from tutelage.models.spec import Weight, is_linear
from tutelage.plan.memory import Tuning

Held = TypeVar("Held")


def roles_of(
    asked: Sequence[str] | None,
    weights: Sequence[Weight],
    default: Collection[str] | None = None,
    also: Collection[str] = (),
) -> tuple[str, ...]:
    """The roles of linear maps to work at: those asked for, `also` being allowed; or those of
    `default` that the model has, None being all. Raises UnknownName, and ConfigError for a model
    that has none."""
    known = tuple(dict.fromkeys(weight.role for weight in weights if is_linear(weight)))
    if asked:
        refuse_unknown(asked, (*known, *also))
        return tuple(dict.fromkeys(asked))
    found = known if default is None else tuple(role for role in known if role in default)
    if not found:
        raise ConfigError(
            "the model has no linear map of the kinds this method works at",
            field=flag_text("role"),
            got=", ".join(known) or "none",
            expected=", ".join(default or ("any",)),
        )
    return found


def refuse_unknown(asked: Sequence[str], known: Collection[str]) -> None:
    """Raise UnknownName for a role the model has not."""
    for role in asked:
        if role not in known:
            raise UnknownName("role", role, known, field=flag_text("role"))


def layers_of(asked: Sequence[int] | None, weights: Sequence[Weight]) -> tuple[int, ...] | None:
    """The layers asked for, None being all. Raises ConfigError for one the model has not."""
    if not asked:
        return None
    count = len({weight.layer for weight in weights if weight.layer is not None})
    for layer in asked:
        if not 0 <= layer < count:
            raise ConfigError(
                "the model has no such layer",
                field=flag_text("layer"),
                got=layer,
                expected=f"0 to {count - 1}",
            )
    return tuple(sorted(set(asked)))


def held(
    found: Sequence[Held],
    weights: Sequence[Weight],
    roles: Collection[str],
    layers: Sequence[int] | None,
) -> Sequence[Held]:
    """What these roles have in these layers, if anything. Raises ConfigError: of two stacks only
    the second has roles that look across."""
    if not found:
        those = {w.layer for w in weights if w.role in roles and w.layer is not None}
        raise ConfigError(
            "none of these roles is in these layers",
            field=flag_text("layer"),
            got=f"{', '.join(roles)} in {', '.join(map(str, layers or ())) or 'all'}",
            expected=f"one of {', '.join(map(str, sorted(those)))}",
        )
    return found


def rank_of(asked: int | None, default: int, widest: int) -> int:
    """The rank asked for, or the default where there is room for it. Raises ConfigError for one
    that is none."""
    rank = min(default, widest) if asked is None else asked
    if not 1 <= rank <= widest:
        raise ConfigError(
            "the rank must be at least 1 and at most the width of what it updates",
            field=flag_text("rank"),
            got=rank,
            expected=f"1 to {widest}",
        )
    return rank


def scale_of(asked: float | None, default: float, name: str = "alpha") -> float:
    """The scale asked for. Raises ConfigError for one that teaches nothing."""
    scale = default if asked is None else asked
    if not 0 < scale < math.inf:
        raise ConfigError(
            "the scale must be a positive number",
            field=flag_text(name),
            got=scale,
            expected="above 0",
        )
    return scale


def share_of(asked: float, name: str = "dropout") -> float:
    """A share of what is dropped. Raises ConfigError unless 0 <= share < 1."""
    if not 0 <= asked < 1:
        raise ConfigError(
            "a share of what is dropped", field=flag_text(name), got=asked, expected="0 to below 1"
        )
    return asked


def flag_text(name: str) -> str:
    """A flag of the command line."""
    return f"--{name}"


def chosen(
    weights: Sequence[Weight], roles: Collection[str], layers: Collection[int] | None = None
) -> list[Weight]:
    """The matrices of linear maps of these roles, in these layers."""
    return [
        weight
        for weight in weights
        if is_linear(weight) and weight.role in roles and (layers is None or weight.layer in layers)
    ]


def narrowest(weights: Sequence[Weight]) -> int:
    """The smallest width among these matrices."""
    return min(min(weight.shape) for weight in weights)


def reached(tuning: Tuning, weights: Sequence[Weight], trained: Sequence[Weight]) -> Tuning:
    """With the layers that gradients pass on their way to these weights, and how many of them are
    adapted. Weights stand in the order of the forward pass: one outside the blocks is as far back
    as the next that is inside."""
    count = len({weight.layer for weight in weights if weight.layer is not None})
    paths = {weight.path for weight in trained}
    paths |= {path.removesuffix("bias") + "weight" for path in paths if path.endswith(".bias")}
    lowest = after = count
    for weight in reversed(weights):
        after = after if weight.layer is None else weight.layer
        if weight.path in paths:
            lowest = min(lowest, after)
    inside = {weight.layer for weight in trained if weight.layer is not None}
    return replace(tuning, layers=count - lowest, adapted=len(inside))
