"""The frame of decoders that differ in their attention alone: GPT-2's block around it.

Pre-norm with LayerNorm, GELU, biases in the feed-forward network and none in attention, tied head,
learned positions unless the attention knows its own. Hugging Face has none of these; the names are
those of the parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.parts import divisible, linear, norm
from tutelage.models.spec import Shape, Weight
from tutelage.nn.pairs import Pairs

if TYPE_CHECKING:
    from torch import nn

    from tutelage.models.transformer import Transformer

EPS = 1e-5


@dataclass(frozen=True)
class PlainConfig:
    """The shape of one model. `positions` are learned rows, 0 for none."""

    vocab_size: int = 50257
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 1024
    initializer_range: float = 0.02

    @property
    def head_width(self) -> int:
        return divisible(self.hidden_size, self.num_attention_heads, "num_attention_heads")


def shape(config: PlainConfig, sees: Pairs | None = None) -> Shape:
    """Its sizes; `sees` is what each layer does, where that is not all before a token."""
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_attention_heads,
        head_width=config.head_width,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        sees=() if sees is None else (sees,) * config.num_hidden_layers,
    )


def layout(
    config: PlainConfig,
    positions: bool = True,
    extra: Callable[[str, int], Iterator[Weight]] = lambda path, layer: iter(()),
    projections: str = "qkv",
) -> Iterator[Weight]:
    """Every stored weight; `extra` are those of a layer's attention beyond its projections."""
    width = config.hidden_size
    added = config.initializer_range / math.sqrt(2 * config.num_hidden_layers)
    table, places = (config.vocab_size, width), (config.max_position_embeddings, width)
    yield Weight("embed.tokens.weight", "embed.tokens.weight", table, "embed")
    if positions:
        yield Weight("embed.positions.weight", "embed.positions.weight", places, "embed.position")
    for i in range(config.num_hidden_layers):
        path = f"blocks.{i}"
        for name in ("norm_attn", "norm_mlp"):
            yield from norm(f"{path}.{name}", f"{path}.{name}", width, i, bias=True)
        for part in projections:
            name = f"{path}.attn.{part}"
            yield from linear(name, name, width, width, f"attn.{part}", i)
        name = f"{path}.attn.o"
        yield from linear(name, name, width, width, "attn.o", i, start=added)
        yield from extra(f"{path}.attn", i)
        for part, out, into, start in (
            ("up", 4 * width, width, None),
            ("down", width, 4 * width, added),
        ):
            name = f"{path}.mlp.{part}"
            yield from linear(name, name, out, into, f"mlp.{part}", i, bias=True, start=start)
    yield from norm("norm", "norm", width, bias=True)


def build(
    config: PlainConfig, attention: Callable[[int], nn.Module], positions: bool = True
) -> Transformer:
    """The module around `attention(layer)`, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.positions import Learned

    width = config.hidden_size
    table = Learned(config.max_position_embeddings, width) if positions else None

    def block(layer: int) -> PreNorm:
        mixing: Any = attention(layer)
        return PreNorm(
            mixing, MLP(width, 4 * width, "gelu_new"), LayerNorm(width, EPS), LayerNorm(width, EPS)
        )

    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width), table),
        blocks=[block(layer) for layer in range(config.num_hidden_layers)],
        norm=LayerNorm(width, EPS),
        head=Head(),
        context=config.max_position_embeddings,
    )


def preset(name: str, width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    """A config.json of the class `name`."""
    return {
        "architectures": [name],
        "model_type": name.removesuffix("ForCausalLM").lower(),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "initializer_range": 0.02,
        **more,
    }


def tiny(name: str, **more: Any) -> dict[str, Any]:
    """The smallest sensible one, over bytes."""
    return preset(name, 64, 2, 4, vocab_size=260, max_position_embeddings=512, **more)
