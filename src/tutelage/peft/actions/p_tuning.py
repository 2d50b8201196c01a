"""P-tuning on a model: a network that makes the vectors of its virtual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft._method import Actions
from tutelage.peft._virtual import Mixed, made_rows, put_table, random_words, stack, write_rows
from tutelage.peft._wrapped import detach
from tutelage.peft.actions import prompt_tuning
from tutelage.peft.p_tuning import KIND, Settings


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


ACTIONS = Actions(attach, write, read, detach=detach)
