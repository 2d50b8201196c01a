"""LoRA on a model: A and B put beside its matrices, written, and read again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.nn.attention import FusedAttention
from tutelage.nn.embedding import Embedding
from tutelage.nn.quantized import AnyLinear
from tutelage.peft._low_rank import LoraEmbedding, LoraLinear, LoraScores
from tutelage.peft._low_rank_file import (
    ANY_VALUE,
    HONOURED,
    is_tied,
    ranks_config,
    read_onto,
    tensors_of,
    updated,
)
from tutelage.peft._method import Actions
from tutelage.peft._wrapped import detach, merge, put
from tutelage.peft.layout import Base, common_config, opened, targets_config, write_adapter
from tutelage.peft.lora import SCORES, Settings, divisor, targets


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Put an update beside everything that is asked for; only A and B are trained, in float32."""
    attach_as(LoraLinear, model, weights, settings, seed)


def attach_as(
    kind: type[LoraLinear], model: Model, weights: Sequence[Weight], settings: Settings, seed: int
) -> None:
    """Likewise, with wrappers of this kind."""
    assert settings.rank is not None and settings.alpha is not None
    scale = settings.alpha / divisor(settings.rank, settings.rslora)
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for target in targets(weights, settings):
        path = target.weight.path.removesuffix(".weight")
        module = model.get_submodule(path)
        if isinstance(module, Embedding):
            table = LoraEmbedding(module, settings.rank, scale, is_tied(model, module))
            start = torch.randn(table.lora_embedding_b.shape, generator=generator)
            table.lora_embedding_b.data.copy_(start)
            put(model, path, table)
            continue
        assert isinstance(module, AnyLinear), path
        rows = _rows(model, path, target.parts)
        of = LoraScores if module.role == SCORES else kind
        one = of(module, settings.rank, scale, settings.dropout, rows)
        start = torch.rand(one.lora_a.shape, generator=generator) * 2 - 1
        one.lora_a.data.copy_(start * (1 / math.sqrt(module.shape[1])))
        put(model, path, one)


def _rows(model: Model, path: str, parts: tuple[int, ...]) -> torch.Tensor | None:
    """Which outputs of the fused projection at `path` these parts are; None for the whole."""
    if not parts:
        return None
    attention = model.get_submodule(path.rpartition(".")[0])
    assert isinstance(attention, FusedAttention), path
    return attention.rows()[list(parts)]


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, its weights in float32."""
    config, tensors = written(model, checkpoint, settings), tensors_of(model, checkpoint)
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def written(model: Model, checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """PEFT's configuration of what is attached."""
    rank, alpha, rslora = settings.rank, settings.alpha, settings.rslora
    assert rank is not None and alpha is not None
    return {
        **common_config("LORA", checkpoint),
        **targets_config([path for path, _ in updated(model)], checkpoint, settings.layers),
        **ranks_config(model, checkpoint, alpha, rank, rslora),
        "lora_dropout": settings.dropout,
        "bias": "none",
        "use_dora": False,
        "init_lora_weights": True,
    }


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the LoRA adapter in `folder`, ours or PEFT's, frozen, in the model's own type.

    Raises SourceError if it is no LoRA adapter, asks for what is not honoured, was made on other
    weights, or does not fit.
    """
    base = Base.of(checkpoint, model)
    config = opened(folder, base, "LORA", HONOURED, ANY_VALUE)
    read_onto(LoraLinear, model, checkpoint, config, folder)


ACTIONS = Actions(attach, write, read, merge, detach)
