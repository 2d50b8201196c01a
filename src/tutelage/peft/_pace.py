"""At which pace layers learn: slower the lower they are, and not all from the beginning.

    rate of a layer = rate x decay ^ (layers above it)        of the tables one layer more
    it learns from step ceil(u x steps x k / K) on            k-th of K from the top, u the share

Norm and head behind the blocks go with the last layer; a table that is the head too goes with the
tables. Source: Howard and Ruder 2018, arXiv:1801.06146, sections 3.2 (discriminative fine-tuning)
and 3.3 (gradual unfreezing, there a layer an epoch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.spec import Weight


class Paced(Frozen):
    """Settings of methods that train whole layers."""

    layer_decay: float = 1.0
    """The learning rate of a layer over that of the one above it."""
    unfreeze: float = 0.0
    """Over which share of the steps layers join, from the last down; 0 is all at once."""


@dataclass(frozen=True)
class Pace:
    """What a parameter's learning rate is multiplied with, and after which share of the steps it
    is trained."""

    scale: float = 1.0
    start: float = 0.0


def check(settings: Paced) -> None:
    """Raise ConfigError for a pace that is none."""
    if not 0 < settings.layer_decay <= 1:
        raise ConfigError(
            "a lower layer learns at a share of the rate of the one above it",
            field="--layer-decay", got=settings.layer_decay, expected="above 0, at most 1",
        )  # fmt: skip
    if not 0 <= settings.unfreeze < 1:
        raise ConfigError(
            "layers join over a share of the steps", field="--unfreeze", got=settings.unfreeze,
            expected="0 to below 1",
        )  # fmt: skip


def paces(settings: Paced, weights: Sequence[Weight], trained: Sequence[Weight]) -> dict[str, Pace]:
    """The pace of every trained weight, by its path; none where all learn alike."""
    if settings.layer_decay == 1 and not settings.unfreeze:
        return {}
    depths = _depths(weights)
    groups = sorted({depths[weight.path] for weight in trained})
    found = {}
    for weight in trained:
        depth = depths[weight.path]
        start = settings.unfreeze * groups.index(depth) / len(groups)
        found[weight.path] = Pace(settings.layer_decay**depth, start)
    return found


def _depths(weights: Sequence[Weight]) -> dict[str, int]:
    """How many layers stand above each weight. Weights stand in the order of the forward pass: what
    is in no layer goes with the layer before it, or lies below them all."""
    layers = sorted({weight.layer for weight in weights if weight.layer is not None})
    found, last = {}, -1
    for weight in weights:
        last = last if weight.layer is None else layers.index(weight.layer)
        found[weight.path] = len(layers) - 1 - last
    return found
