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
from pathlib import Path

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.config import Frozen
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.peft import prompt_tuning
from tutelage.peft._virtual import (
    DEFAULT_TOKENS,
    Mixed,
    check,
    hidden_of,
    made_rows,
    put_table,
    random_words,
    stack,
    token_table,
    write_rows,
)
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


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Only u and the network are trained, in float32."""
    assert settings.hidden is not None
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    table = stack(model, False)[1].embed.tokens
    start = table.weight[random_words(model, settings.tokens, generator)].float()
    maker = Mixed(start, (settings.hidden, settings.hidden, start.shape[1]), tanh=False)
    maker.start(generator)
    put_table(model, maker, settings.tokens)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """P d + d H + H + H H + H + H d + d"""
    width, hidden = token_table(weights).shape[1], settings.hidden or 0
    network = width * hidden + hidden * hidden + hidden * width + 2 * hidden + width
    return settings.tokens * width + network


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    return Tuning(trained=count(weights, settings))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """What the network made, in PEFT's own layout and float32."""
    config = {
        "token_dim": stack(model, False)[1].embed.tokens.weight.shape[1],
        "num_attention_heads": model.heads.query,
        "encoder_reparameterization_type": "MLP",
        "encoder_hidden_size": settings.hidden,
    }
    write_rows(KIND, model, checkpoint, made_rows(model), config, folder)


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the adapter in `folder`, ours or PEFT's, frozen. Raises SourceError if it is none, was
    made on other weights, or does not fit."""
    prompt_tuning.read_as(KIND, model, checkpoint, folder)


def virtual(settings: Settings) -> int:
    return settings.tokens


METHOD = replace(
    prompt_tuning.METHOD,
    name="p-tuning",
    settings=Settings,
    learning_rate=3e-3,
    resolve=resolve,
    attach=attach,
    count=count,
    cost=cost,
    write=write,
    peft_type=KIND,
    read=read,
    virtual=virtual,
    worded=lambda settings, encode: settings,
)
