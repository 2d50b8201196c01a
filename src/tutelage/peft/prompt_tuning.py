"""Prompt tuning: vectors learned for virtual tokens that stand before every row.

    [v1 ... vP | prompt answer],      v [P, d], at the start those of random words, or of a text

Where an encoder reads the prompt they stand before what it reads, as in the source.
Trained parameters: P d. Source: Lester et al. 2021, arXiv:2104.08691, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Method
from tutelage.peft._virtual import (
    Rows,
    Started,
    first_words,
    made_rows,
    put_table,
    read_rows,
    resolved,
    stack,
    token_table,
    worded,
    write_rows,
)
from tutelage.peft._wrapped import detach
from tutelage.plan.memory import Tuning

KIND = "PROMPT_TUNING"
DEVIATION = 0.5
"""Of random starts, in the deviation of all token vectors' numbers."""


class Settings(Started):
    """How many virtual tokens, and the words whose vectors they begin as."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for virtual tokens that leave no room."""
    found: Settings = resolved(settings, weights, shape)
    return found


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Only the vectors are trained, in float32."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    table = stack(model, False)[1].embed.tokens
    start = table.weight[first_words(settings, model, generator)].float()
    if settings.start == "random":
        drawn = torch.randn(start.shape, generator=generator).to(start.device)
        start = drawn * (DEVIATION * table.weight.float().std())
    put_table(model, Rows(start), len(start))


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """P d"""
    return (settings.tokens or 0) * token_table(weights).shape[1]


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """Gradients pass all layers; what virtual tokens take is counted with the rows."""
    return Tuning(trained=count(weights, settings))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, in float32."""
    config = {
        "token_dim": stack(model, False)[1].embed.tokens.weight.shape[1],
        "num_attention_heads": model.heads.query,
        "prompt_tuning_init": "RANDOM",
    }
    write_rows(KIND, model, checkpoint, made_rows(model), config, folder)


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the adapter in `folder`, ours or PEFT's, frozen. Raises SourceError if it is none, was
    made on other weights, or does not fit."""
    read_as(KIND, model, checkpoint, folder)


def read_as(kind: str, model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Likewise, of this kind."""
    width = stack(model, False)[1].embed.tokens.weight.shape[1]
    rows = read_rows(kind, model, checkpoint, (width,), folder)
    put_table(model, Rows(rows).requires_grad_(False), len(rows))


def virtual(settings: Settings) -> int:
    return settings.tokens or 0


METHOD = Method(
    name="prompt-tuning",
    settings=Settings,
    learning_rate=3e-2,
    resolve=resolve,
    attach=attach,
    count=count,
    cost=cost,
    write=write,
    peft_type=KIND,
    read=read,
    detach=detach,
    virtual=virtual,
    worded=worded,
)
