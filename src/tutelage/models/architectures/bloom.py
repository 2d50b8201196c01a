"""BLOOM: GPT-2's block with ALiBi instead of positions, and a norm after the token vectors.

Source: BigScience 2022, arXiv:2211.05100, section 3.2; ALiBi: Press et al. 2022, arXiv:2108.12409.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import settled
from tutelage.models.headed import decoder_forms
from tutelage.models.parts import divisible, linear, norm, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class BloomConfig:
    """The shape of one model, in Hugging Face's field names. It has no longest context of its own;
    `seq_length` is what it was trained on."""

    vocab_size: int
    hidden_size: int
    n_layer: int
    n_head: int
    layer_norm_epsilon: float
    seq_length: int
    tie_word_embeddings: bool


def read(config: Mapping[str, Any]) -> BloomConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, apply_residual_connection_post_layernorm=False)
    wanted = {
        "vocab_size": config.get("vocab_size", 250880),
        "hidden_size": config.get("hidden_size") or config.get("n_embed", 64),
        "n_layer": config.get("n_layer") or config.get("num_hidden_layers", 2),
        "n_head": config.get("n_head") or config.get("num_attention_heads", 8),
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        "seq_length": config.get("seq_length") or 2048,
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
    }
    built = settled(BloomConfig, wanted)
    divisible(built.hidden_size, built.n_head, "n_head")
    return built


def shape(config: BloomConfig) -> Shape:
    return Shape(
        layers=config.n_layer,
        width=config.hidden_size,
        heads=config.n_head,
        kv_heads=config.n_head,
        head_width=config.hidden_size // config.n_head,
        vocabulary=config.vocab_size,
        context=config.seq_length,
    )


def layout(config: BloomConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    width, base = config.hidden_size, "transformer"
    vocabulary = (config.vocab_size, width)
    yield Weight("embed.tokens.weight", f"{base}.word_embeddings.weight", vocabulary, "embed")
    yield from norm("embed.norm", f"{base}.word_embeddings_layernorm", width, bias=True)
    linears = [
        ("attn.qkv", "self_attention.query_key_value", 3 * width, width),
        ("attn.o", "self_attention.dense", width, width),
        ("mlp.up", "mlp.dense_h_to_4h", 4 * width, width),
        ("mlp.down", "mlp.dense_4h_to_h", width, 4 * width),
    ]
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}", f"{base}.h.{i}"
        yield from norm(f"{ours}.norm_attn", f"{theirs}.input_layernorm", width, i, bias=True)
        yield from norm(
            f"{ours}.norm_mlp", f"{theirs}.post_attention_layernorm", width, i, bias=True
        )
        for role, name, out, into in linears:
            yield from linear(f"{ours}.{role}", f"{theirs}.{name}", out, into, role, i, bias=True)
    yield from norm("norm", f"{base}.ln_f", width, bias=True)
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", vocabulary, "head")


def build(config: BloomConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attention import FusedAttention, Heads
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.positions import Alibi

    width, eps = config.hidden_size, config.layer_norm_epsilon
    heads = Heads(config.n_head, config.n_head, width // config.n_head)

    def block() -> PreNorm:
        return PreNorm(
            FusedAttention(width, heads, order="heads"),
            MLP(width, 4 * width, "gelu_new"),
            LayerNorm(width, eps),
            LayerNorm(width, eps),
        )

    tied = config.tie_word_embeddings
    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width), norm=LayerNorm(width, eps)),
        blocks=[block() for _ in range(config.n_layer)],
        norm=LayerNorm(width, eps),
        head=Head(None if tied else Linear(width, config.vocab_size, "head")),
        context=config.seq_length,
        bias=Alibi(config.n_head),
    )


def _preset(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "hidden_size": width,
        "n_layer": layers,
        "n_head": heads,
        "vocab_size": 250880,
        "seq_length": 2048,
        "initializer_range": 0.02,
        **more,
    }


PRESETS = {
    "bloom-tiny": _preset(64, 2, 4, vocab_size=260, seq_length=512),
    "bloom-560m": _preset(1024, 24, 16),
    "bloom-7b1": _preset(4096, 30, 32),
    "bloom-176b": _preset(14336, 70, 112),
}

SPEC = Spec(
    name="bloom",
    family="decoder",
    hf_architectures=("BloomForCausalLM", "BloomModel"),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="transformer",
    ignored=(r"^lm_head\.weight$",),
    heads=decoder_forms("transformer", tokens="classifier"),
)
