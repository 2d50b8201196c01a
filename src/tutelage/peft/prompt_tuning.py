"""Prompt tuning: vectors learned for virtual tokens that stand before every row.

    [v1 ... vP | prompt answer],      v [P, d], at the start those of random words, or of a text

Where an encoder reads the prompt they stand before what it reads, as in the source.
Trained parameters: P d. Source: Lester et al. 2021, arXiv:2104.08691, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._tokens import Started, resolved, token_table, worded
from tutelage.plan.memory import Tuning

KIND = "PROMPT_TUNING"


class Settings(Started):
    """How many virtual tokens, and the words whose vectors they begin as."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for virtual tokens that leave no room."""
    found: Settings = resolved(settings, weights, shape)
    return found


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """P d"""
    return (settings.tokens or 0) * token_table(weights).shape[1]


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """Gradients pass all layers; what virtual tokens take is counted with the rows."""
    return Tuning(trained=count(weights, settings))


def virtual(settings: Settings) -> int:
    return settings.tokens or 0


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.prompt_tuning import ACTIONS

    return ACTIONS


METHOD = Method(
    name="prompt-tuning",
    settings=Settings,
    learning_rate=3e-2,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type=KIND,
    virtual=virtual,
    worded=worded,
)
