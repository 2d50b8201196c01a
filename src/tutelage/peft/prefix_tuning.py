"""Prefix tuning: keys and values learned for virtual tokens, in every layer.

    attention over [K_l; k], [V_l; v],      K_l and V_l [P, W] of layer l, W the width of its keys

At the start they are those of random words, of a text, or random numbers as large. With `hidden` a
network makes them while they are learned, (K, V) = W2 tanh(W1 u + b1) + b2, u [P, W] random, and
is dropped after training; without it this is P-tuning v2. Trained parameters: 2 L P W, or
P W + W H + H + 2 L W (H + 1).
Source: Li and Liang 2021, arXiv:2101.00190, sections 4.2 and 4.3; Liu et al. 2022,
arXiv:2110.07602, section 3.

Virtual tokens stand before every row, of an encoder-decoder before what the decoder says, and what
a layer projects of them to keys and values is replaced (`_prefixed.py`), keys behind their norm
where they have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import ConfigError
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model, encoded
from tutelage.models.spec import Shape, Weight
from tutelage.models.transformer import Transformer
from tutelage.nn.attention import Attention
from tutelage.nn.cache import Cache
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout
from tutelage.nn.reading import ReadPrompts
from tutelage.peft._method import Method
from tutelage.peft._prefixed import replace
from tutelage.peft._targets import chosen
from tutelage.peft._virtual import (
    Mixed,
    Rows,
    Started,
    first_words,
    hidden_of,
    made_rows,
    put_table,
    read_rows,
    resolved,
    stack,
    worded,
    write_rows,
)
from tutelage.peft._wrapped import detach
from tutelage.plan.memory import Tuning

KIND = "PREFIX_TUNING"
SEPARATE, FUSED = ("attn.k", "attn.v"), ("attn.qkv",)


class Settings(Started):
    """How many virtual tokens, the words whose keys and values they begin as, and whether a network
    makes what is learned of them."""

    hidden: int | None = None
    """H, the width of the network; None is without one."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for virtual tokens that leave no room, and for attention whose keys cannot
    be replaced."""
    settings = resolved(settings, weights, shape)
    found = targets(weights)
    both = {weight.role for weight in found} in ({*SEPARATE}, {*FUSED})  # else queries are keys
    if not both or len({weight.shape[0] for weight in found}) > 1:
        raise ConfigError(
            "keys and values of this model's attention cannot be replaced",
            field="--method",
            got="attention of another kind",
            expected="projections to keys and values alike in all layers",
            hint="choose another method",
        )
    if settings.hidden is not None:
        hidden_of(settings.hidden, 0)
        if settings.text is not None:
            raise ConfigError(
                "a network makes keys and values out of what it learned, not out of words",
                field="--text", got=settings.text, expected="no text beside --hidden",
            )  # fmt: skip
    return settings


def targets(weights: Sequence[Weight]) -> list[Weight]:
    """The matrices that project to keys and values, of two stacks those of the one that attends to
    the other."""
    found = chosen(weights, FUSED) or chosen(weights, SEPARATE)
    crossed = {weight.layer for weight in weights if weight.role.startswith("cross.")}
    return [weight for weight in found if not crossed or weight.layer in crossed]


def _sizes(weights: Sequence[Weight]) -> tuple[int, int]:
    """Layers, and the width of their keys."""
    found = targets(weights)
    fused = found[0].role in FUSED
    return len({weight.layer for weight in found}), found[0].shape[0] // (3 if fused else 1)


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Only keys and values, or the network that makes them, are trained, in float32."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    words = first_words(settings, model, generator)
    layers, width = _sizes(weights)
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
    width = _sizes(weights)[1]
    for weight in targets(weights):
        assert weight.layer is not None
        path, _, name = weight.path.removesuffix(".weight").rpartition(".")
        attention = model.get_submodule(path)
        assert isinstance(attention, Attention)
        first = 2 * layers.index(weight.layer) * width
        both = slice(first, first + width), slice(first + width, first + 2 * width)
        replace(attention, name, both, table.seen, angles)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """2 L P W, or with a network P W + W H + H + 2 L W (H + 1)."""
    layers, width = _sizes(weights)
    tokens, hidden = settings.tokens or 0, settings.hidden
    if hidden is None:
        return 2 * layers * tokens * width
    return tokens * width + (width + 1) * hidden + (hidden + 1) * 2 * layers * width


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """Gradients pass all layers but the first; virtual tokens are counted with the rows."""
    return Tuning(trained=count(weights, settings))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """Keys and values in PEFT's own layout and float32, whatever made them."""
    layers, width = _sizes(layout(checkpoint.config))
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
    layers, width = _sizes(weights)
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


def virtual(settings: Settings) -> int:
    return settings.tokens or 0


METHOD = Method(
    name="prefix-tuning",
    settings=Settings,
    learning_rate=1e-2,
    resolve=resolve,
    attach=attach,
    count=count,
    cost=cost,
    write=write,
    peft_type=KIND,
    read=read,
    detach=detach,
    virtual=virtual,
    deep=True,
    worded=worded,
)
