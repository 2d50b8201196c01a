"""PaLM: parallel blocks, one key-value head for all queries, SwiGLU, rotation, no biases at all.

Source: Chowdhery et al. 2022, arXiv:2204.02311, section 2: norms with a gain alone, scores from the
token table times C^-0.5 (section 5.1). Hugging Face has no such class; the names are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import known, settled
from tutelage.models.parts import linear, norm, paired
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class PaLMConfig:
    """The shape of one model."""

    vocab_size: int = 256000
    hidden_size: int = 4096
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    head_dim: int = 256
    intermediate_size: int = 16384
    max_position_embeddings: int = 2048
    layer_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0


def read(config: Mapping[str, Any]) -> PaLMConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    built = settled(PaLMConfig, known(config, PaLMConfig))
    paired(built.head_dim)
    return built


def shape(config: PaLMConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=1,
        head_width=config.head_dim,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def layout(config: PaLMConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass; matrices begin as Normal(0, 1 / sqrt
    of their inputs), the token table as Normal(0, 1)."""
    width, hidden = config.hidden_size, config.intermediate_size
    queries = config.num_attention_heads * config.head_dim
    linears = [
        ("attn.q", queries, width),
        ("attn.k", config.head_dim, width),
        ("attn.v", config.head_dim, width),
        ("attn.o", width, queries),
        ("mlp.gate", hidden, width),
        ("mlp.up", hidden, width),
        ("mlp.down", width, hidden),
    ]
    table = (config.vocab_size, width)
    yield Weight("embed.tokens.weight", "embed_tokens.weight", table, "embed", start=1.0)
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}", f"layers.{i}"
        yield from norm(f"{ours}.norm", f"{theirs}.norm", width, i)
        for role, out, into in linears:
            yield from linear(
                f"{ours}.{role}", f"{theirs}.{role}", out, into, role, i, start=into**-0.5
            )
    yield from norm("norm", "norm", width)


def build(config: PaLMConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attention import Attention, Heads
    from tutelage.nn.block import Parallel
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.mlp import GatedMLP
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.rope import Rope

    width, eps = config.hidden_size, config.layer_norm_eps
    heads = Heads(config.num_attention_heads, 1, config.head_dim)

    def block() -> Parallel:
        return Parallel(
            Attention(width, heads),
            GatedMLP(width, config.intermediate_size),
            LayerNorm(width, eps, bias=False),
        )

    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width)),
        blocks=[block() for _ in range(config.num_hidden_layers)],
        norm=LayerNorm(width, eps, bias=False),
        head=Head(scale=width**-0.5),
        context=config.max_position_embeddings,
        rope=Rope(head_width=config.head_dim, theta=config.rope_theta),
    )


def _preset(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["PaLMForCausalLM"],
        "model_type": "palm",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **more,
    }


PRESETS = {
    "palm-tiny": _preset(64, 2, 4, head_dim=16, vocab_size=260, max_position_embeddings=512),
    "palm-8b": _preset(4096, 32, 16),
    "palm-62b": _preset(8192, 64, 32),
    "palm-540b": _preset(18432, 118, 48),
}

SPEC = Spec(
    name="palm",
    family="decoder",
    hf_architectures=("PaLMForCausalLM",),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
