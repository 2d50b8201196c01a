"""Prefix tuning on a model: keys and values of its virtual tokens in every layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.data.pack import Example, memory_of, pack
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model, encoded
from tutelage.models.spec import Weight
from tutelage.models.transformer import Transformer
from tutelage.nn.attention import Attention
from tutelage.nn.cache import Cache
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout
from tutelage.nn.reading import ReadPrompts
from tutelage.peft._method import Actions
from tutelage.peft._prefixed import replace
from tutelage.peft._virtual import (
    Mixed,
    Rows,
    first_words,
    made_rows,
    put_table,
    read_rows,
    stack,
    write_rows,
)
from tutelage.peft._wrapped import detach
from tutelage.peft.prefix_tuning import KIND, Settings, sizes, targets


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Only keys and values, or the network that makes them, are trained, in float32."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    words = first_words(settings, model, generator)
    layers, width = sizes(weights)
    if settings.hidden is None:
        rows = _of_words(model, words).float()
        if settings.start == "random":
            rows = torch.randn(rows.shape, generator=generator).to(rows.device) * rows.std()
        _put(model, weights, Rows(rows), len(words))
        return
    start = torch.randn(len(words), width, generator=generator).to(model.device)
    maker = Mixed(start, (settings.hidden, 2 * layers * width), tanh=True)
    maker.start(generator)
    _put(model, weights, maker, len(words))


@torch.no_grad()
def _of_words(model: Model, words: Int[Tensor, "P"]) -> Float[Tensor, "P 2LW"]:
    """Keys and values of these words by the frozen model, layer by layer; an encoder, where there
    is one, has read the same words."""
    heads, count = model.heads, len(words)
    like = torch.empty(0, dtype=model.compute, device=model.device)
    cache = Cache(model.layers, 1, count, (heads.key_value, heads.width), like)
    row = Example.read(words.tolist(), () if isinstance(model, Transformer) else words.tolist())
    memory = memory_of([row]) if row.memory else None
    laid = Layout.of(pack([row], share=False), str(model.device), memory)
    places = torch.arange(count, device=model.device)
    first = torch.zeros_like(places)
    attend = ReadPrompts(cache, laid, first, places, first[:1], first[:1] + len(row.memory))
    model.hidden(Tokens(words, places), attend, None, encoded(model, memory))
    both = zip(cache.keys[:, 0], cache.values[:, 0], strict=True)
    parts = [part[:, :count].transpose(0, 1).reshape(count, -1) for pair in both for part in pair]
    return torch.cat(parts, dim=1)


def _put(model: Model, weights: Sequence[Weight], maker: nn.Module, count: int) -> None:
    """The virtual tokens before every row, and their keys and values in every layer."""
    table, rope = put_table(model, maker, count, deep=True), stack(model, True)[1].rope
    places = torch.arange(count, device=model.device)
    angles = None if rope is None else rope.angles(places)
    layers = sorted({weight.layer for weight in targets(weights) if weight.layer is not None})
    width = sizes(weights)[1]
    for weight in targets(weights):
        assert weight.layer is not None
        path, _, name = weight.path.removesuffix(".weight").rpartition(".")
        attention = model.get_submodule(path)
        assert isinstance(attention, Attention)
        first = 2 * layers.index(weight.layer) * width
        both = slice(first, first + width), slice(first + width, first + 2 * width)
        replace(attention, name, both, table.seen, angles)


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """Keys and values in PEFT's own layout and float32, whatever made them."""
    layers, width = sizes(layout(checkpoint.config))
    rows, more = made_rows(model), {}
    if not isinstance(model, Transformer):
        rows = _beside_cross(rows, 2 * width)
        more = {"num_transformer_submodules": 2, "num_layers": 2 * layers}
    config = {
        **more,
        "token_dim": width,
        "num_attention_heads": model.heads.key_value,
        "prefix_projection": settings.hidden is not None,
        "encoder_hidden_size": settings.hidden,
    }
    write_rows(KIND, model, checkpoint, rows, config, folder)


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the adapter in `folder`, ours or PEFT's, frozen. Raises SourceError if it is none, was
    made on other weights, or does not fit."""
    weights = layout(checkpoint.config)
    layers, width = sizes(weights)
    own, widths = 2 * layers * width, [2 * layers * width]
    if not isinstance(model, Transformer):
        widths = [*range(own, 2 * own + 1, 2 * width)]
    rows = read_rows(KIND, model, checkpoint, widths, folder)
    if not isinstance(model, Transformer):
        rows = _of_self(rows, 2 * width)[:, :own]
    _put(model, weights, Rows(rows).requires_grad_(False), len(rows))


def _beside_cross(rows: Float[Tensor, "P N"], each: int) -> Float[Tensor, "P 2N"]:
    """As PEFT hands rows to an encoder-decoder: twice over, a layer taking two of them in turn, of
    which its self-attention has the first. The second is nothing, so that each layer has its own.
    """
    parts = rows.view(len(rows), -1, 1, each)
    return torch.cat([parts, torch.zeros_like(parts)], dim=2).flatten(1)


def _of_self(rows: Float[Tensor, "P M"], each: int) -> Float[Tensor, "P M"]:
    """What self-attention has of rows that are handed out so, layer by layer."""
    parts = rows.view(len(rows), -1, each)
    taken = 2 * torch.arange(parts.shape[1], device=rows.device) % parts.shape[1]
    return parts[:, taken].flatten(1)


ACTIONS = Actions(attach, write, read, detach=detach)
