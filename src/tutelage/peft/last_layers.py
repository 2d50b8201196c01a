"""The last layers alone are trained, and the norm behind them.

Gradients pass no further, so that time and memory fall with the layers. Of an encoder-decoder they
are the decoder's. Trained parameters: those of `last` blocks and of the norm.
Source: Lee et al. 2019, arXiv:1911.03090: a quarter of the layers comes near to tuning all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight
from tutelage.peft._pace import Pace, Paced, check, paces
from tutelage.peft._selective import selective


class Settings(Paced):
    """None means a default, which `resolve` puts in."""

    last: int | None = None
    """How many layers; a quarter of them, rounded up."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in the default. Raises ConfigError for layers the model has not, and for a pace that is
    none."""
    check(settings)
    last = -(-shape.layers // 4) if settings.last is None else settings.last
    if not 1 <= last <= shape.layers:
        raise ConfigError(
            "the model has not so many layers",
            field="--last",
            got=last,
            expected=f"1 to {shape.layers}",
        )
    return settings.model_copy(update={"last": last})


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """All of the last blocks, and norms behind the last."""
    places = [at for at, weight in enumerate(weights) if weight.layer is not None]
    count = len({weights[at].layer for at in places})
    first = count - (settings.last or 0)
    return [
        weight
        for at, weight in enumerate(weights)
        if weight.trained
        and (
            (weight.layer is not None and weight.layer >= first)
            or (at > places[-1] and weight.role == "norm")
        )
    ]


def own_paces(settings: Settings, weights: Sequence[Weight]) -> dict[str, Pace]:
    return paces(settings, weights, selected(weights, settings))


METHOD = replace(selective("last-layers", Settings, 1.5e-4, resolve, selected), paces=own_paces)
