"""Norms alone are trained: their gains, and their shifts where they have any.

    y = g * normalized(x) + b

Trained parameters: their widths, once or twice. Written as PEFT's LN tuning.
Source: Zhao et al. 2024, arXiv:2312.11420, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions
from tutelage.peft._selective import selective, some

KIND = "LN_TUNING"


class Settings(Frozen):
    """There are none."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    some(selected(weights, settings), "norm")
    return settings


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The gains and shifts."""
    return [weight for weight in weights if weight.role == "norm"]


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.norms import ACTIONS

    return ACTIONS


METHOD = replace(
    selective("norms", Settings, 2e-3, resolve, selected),
    peft_type=KIND,
    theirs=True,
    actions=actions,
)
