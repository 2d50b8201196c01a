"""OPT: GPT-3's shape with ReLU and separate projections; positions begin two rows into their table.

Source: Zhang et al. 2022, arXiv:2205.01068, section 2.1. The 350M model normalizes after each part
and has token vectors narrower than the stream, as released.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import settled
from tutelage.models.parts import activation, divisible, linear, norm, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

OFFSET = 2
EPS = 1e-5


@dataclass(frozen=True)
class OPTConfig:
    """The shape of one model, in Hugging Face's field names."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    ffn_dim: int
    num_attention_heads: int
    max_position_embeddings: int
    word_embed_proj_dim: int
    activation_function: str
    do_layer_norm_before: bool
    final_norm: bool
    enable_bias: bool
    tie_word_embeddings: bool


def read(config: Mapping[str, Any]) -> OPTConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, layer_norm_elementwise_affine=True)
    width = config.get("hidden_size", 768)
    before = config.get("do_layer_norm_before", True)
    wanted = {
        "vocab_size": config.get("vocab_size", 50272),
        "hidden_size": width,
        "num_hidden_layers": config.get("num_hidden_layers", 12),
        "ffn_dim": config.get("ffn_dim", 3072),
        "num_attention_heads": config.get("num_attention_heads", 12),
        "max_position_embeddings": config.get("max_position_embeddings", 2048),
        "word_embed_proj_dim": config.get("word_embed_proj_dim") or width,
        "activation_function": activation(config, "activation_function", "relu"),
        "do_layer_norm_before": before,
        "final_norm": before and not config.get("_remove_final_layer_norm", False),
        "enable_bias": config.get("enable_bias", True),
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
    }
    built = settled(OPTConfig, wanted)
    divisible(built.hidden_size, built.num_attention_heads, "num_attention_heads")
    return built


def shape(config: OPTConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_attention_heads,
        head_width=config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def layout(config: OPTConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    width, narrow, bias = config.hidden_size, config.word_embed_proj_dim, config.enable_bias
    base = "model.decoder"
    vocabulary = (config.vocab_size, narrow)
    places = (config.max_position_embeddings + OFFSET, width)
    yield Weight("embed.tokens.weight", f"{base}.embed_tokens.weight", vocabulary, "embed")
    if narrow != width:
        yield from linear("embed.project", f"{base}.project_in", width, narrow, "embed.project")
    yield Weight(
        "embed.positions.weight", f"{base}.embed_positions.weight", places, "embed.position"
    )
    linears = [
        *((f"attn.{x}", f"self_attn.{x}_proj", width, width) for x in "qkv"),
        ("attn.o", "self_attn.out_proj", width, width),
        ("mlp.up", "fc1", config.ffn_dim, width),
        ("mlp.down", "fc2", width, config.ffn_dim),
    ]
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}", f"{base}.layers.{i}"
        yield from norm(f"{ours}.norm_attn", f"{theirs}.self_attn_layer_norm", width, i, bias=True)
        yield from norm(f"{ours}.norm_mlp", f"{theirs}.final_layer_norm", width, i, bias=True)
        for role, name, out, into in linears:
            yield from linear(f"{ours}.{role}", f"{theirs}.{name}", out, into, role, i, bias=bias)
    if config.final_norm:
        yield from norm("norm", f"{base}.final_layer_norm", width, bias=True)
    if narrow != width:
        yield from linear("head.transform", f"{base}.project_out", narrow, width, "head.transform")
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", vocabulary, "head")


def build(config: OPTConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attention import Attention, Heads
    from tutelage.nn.block import PostNorm, PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.positions import Learned

    width, narrow, bias = config.hidden_size, config.word_embed_proj_dim, config.enable_bias
    count = config.num_attention_heads
    heads = Heads(count, count, width // count)
    kind = PreNorm if config.do_layer_norm_before else PostNorm

    def block() -> PreNorm | PostNorm:
        return kind(
            Attention(width, heads, bias=bias, bias_out=bias),
            MLP(width, config.ffn_dim, config.activation_function, bias),
            LayerNorm(width, EPS),
            LayerNorm(width, EPS),
        )

    projected, tied = narrow != width, config.tie_word_embeddings
    return Transformer(
        embed=Embed(
            Embedding(config.vocab_size, narrow),
            Learned(config.max_position_embeddings + OFFSET, width, OFFSET),
            project=Linear(narrow, width, "embed.project") if projected else None,
        ),
        blocks=[block() for _ in range(config.num_hidden_layers)],
        norm=LayerNorm(width, EPS) if config.final_norm else None,
        head=Head(
            None if tied else Linear(narrow, config.vocab_size, "head"),
            Linear(width, narrow, "head.transform") if projected else None,
        ),
        context=config.max_position_embeddings,
    )


def _preset(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "hidden_size": width,
        "ffn_dim": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "word_embed_proj_dim": width,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
        "initializer_range": 0.006,
        **more,
    }


PRESETS = {
    "opt-tiny": _preset(64, 2, 4, vocab_size=260, max_position_embeddings=512),
    "opt-125m": _preset(768, 12, 12),
    "opt-350m": _preset(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _preset(2048, 24, 32),
    "opt-6.7b": _preset(4096, 32, 32),
    "opt-175b": _preset(12288, 96, 96),
}

SPEC = Spec(
    name="opt",
    family="decoder",
    hf_architectures=("OPTForCausalLM", "OPTModel"),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="model",
    ignored=(r"^lm_head\.weight$",),
)
