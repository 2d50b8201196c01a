"""Prompt tuning on a model: its virtual tokens and their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft._method import Actions
from tutelage.peft._virtual import (
    Rows,
    first_words,
    made_rows,
    put_table,
    read_rows,
    stack,
    write_rows,
)
from tutelage.peft._wrapped import detach
from tutelage.peft.prompt_tuning import KIND, Settings

DEVIATION = 0.5
"""Of random starts, in the deviation of all token vectors' numbers."""


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


ACTIONS = Actions(attach, write, read, detach=detach)
