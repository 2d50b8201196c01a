"""P-tuning: vectors of virtual tokens before every row, made by a small network while they are
learned.

    v = W3 relu(W2 relu(W1 u + b1) + b2) + b3,      u [P, d] learned, the network of width H

After training the network is dropped and v alone is kept. Trained parameters: P d + d H + H H + H d
and the biases 2 H + d. Source: Liu et al. 2021, arXiv:2103.10385, section 3.2, with PEFT's network
of three layers for their LSTM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft import prompt_tuning
from tutelage.peft._method import Actions
from tutelage.peft._tokens import DEFAULT_TOKENS, check, hidden_of, token_table
from tutelage.plan.memory import Tuning

KIND = "P_TUNING"


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    tokens: int = DEFAULT_TOKENS
    """P"""
    hidden: int | None = None
    """H; the width of token vectors."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in the default. Raises ConfigError for virtual tokens that leave no room."""
    check(settings.tokens, weights, shape)
    width = token_table(weights).shape[1]
    return Settings(tokens=settings.tokens, hidden=hidden_of(settings.hidden, width))


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """P d + d H + H + H H + H + H d + d"""
    width, hidden = token_table(weights).shape[1], settings.hidden or 0
    network = width * hidden + hidden * hidden + hidden * width + 2 * hidden + width
    return settings.tokens * width + network


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    return Tuning(trained=count(weights, settings))


def virtual(settings: Settings) -> int:
    return settings.tokens


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.p_tuning import ACTIONS

    return ACTIONS


METHOD = replace(
    prompt_tuning.METHOD,
    name="p-tuning",
    settings=Settings,
    learning_rate=3e-3,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type=KIND,
    virtual=virtual,
    worded=lambda settings, encode: settings,
)
