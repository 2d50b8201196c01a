"""GPT-2: pre-norm with LayerNorm, learned positions, one fused projection, GELU, biases, tied head.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3:
norms moved to the input of each part, one more after the last block, and the weights that add to
the stream scaled at the start by 1 / sqrt(2 L). GPT-3 (Brown et al. 2020, arXiv:2005.14165, section
2.1) is this shape; its alternating sparse layers are dense here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import settled
from tutelage.models.headed import decoder_forms
from tutelage.models.parts import activation, divisible, linear, norm, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class GPT2Config:
    """The shape of one model, in Hugging Face's field names."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int
    activation_function: str
    layer_norm_epsilon: float
    initializer_range: float
    tie_word_embeddings: bool


def read(config: Mapping[str, Any]) -> GPT2Config:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    refuse(config, add_cross_attention=False)
    width = config.get("n_embd", 768)
    wanted = {
        "vocab_size": config.get("vocab_size", 50257),
        "n_positions": config.get("n_positions", 1024),
        "n_embd": width,
        "n_layer": config.get("n_layer", 12),
        "n_head": config.get("n_head", 12),
        "n_inner": config.get("n_inner") or 4 * width,
        "activation_function": activation(config, "activation_function", "gelu_new"),
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        "initializer_range": config.get("initializer_range", 0.02),
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
    }
    built = settled(GPT2Config, wanted)
    divisible(built.n_embd, built.n_head, "n_head")
    return built


def shape(config: GPT2Config) -> Shape:
    return Shape(
        layers=config.n_layer,
        width=config.n_embd,
        heads=config.n_head,
        kv_heads=config.n_head,
        head_width=config.n_embd // config.n_head,
        vocabulary=config.vocab_size,
        context=config.n_positions,
        plain=True,
    )


def layout(config: GPT2Config) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass; files hold matrices as [in, out]."""
    width, hidden = config.n_embd, config.n_inner
    added = config.initializer_range / math.sqrt(2 * config.n_layer)
    linears = [
        ("attn.qkv", "attn.c_attn", 3 * width, width, None),
        ("attn.o", "attn.c_proj", width, width, added),
        ("mlp.up", "mlp.c_fc", hidden, width, None),
        ("mlp.down", "mlp.c_proj", width, hidden, added),
    ]
    vocabulary = (config.vocab_size, width)
    yield Weight("embed.tokens.weight", "transformer.wte.weight", vocabulary, "embed")
    yield Weight(
        "embed.positions.weight", "transformer.wpe.weight", (config.n_positions, width),
        "embed.position",
    )  # fmt: skip
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        yield from norm(f"{ours}.norm_attn", f"{theirs}.ln_1", width, i, bias=True)
        yield from norm(f"{ours}.norm_mlp", f"{theirs}.ln_2", width, i, bias=True)
        for role, name, out, into, start in linears:
            yield from linear(
                f"{ours}.{role}", f"{theirs}.{name}", out, into, role, i, bias=True,
                transposed=True, start=start,
            )  # fmt: skip
    yield from norm("norm", "transformer.ln_f", width, bias=True)
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", vocabulary, "head")


def build(config: GPT2Config) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attention import FusedAttention, Heads
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.positions import Learned

    width, eps = config.n_embd, config.layer_norm_epsilon
    heads = Heads(config.n_head, config.n_head, width // config.n_head)

    def block() -> PreNorm:
        return PreNorm(
            FusedAttention(width, heads),
            MLP(width, config.n_inner, config.activation_function),
            LayerNorm(width, eps),
            LayerNorm(width, eps),
        )

    tied = config.tie_word_embeddings
    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width), Learned(config.n_positions, width)),
        blocks=[block() for _ in range(config.n_layer)],
        norm=LayerNorm(width, eps),
        head=Head(None if tied else Linear(width, config.vocab_size, "head")),
        context=config.n_positions,
    )


def _preset(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "vocab_size": 50257,
        "n_positions": 1024,
        "initializer_range": 0.02,
        **more,
    }


PRESETS = {
    "gpt2-tiny": _preset(64, 2, 4, vocab_size=260, n_positions=512),
    "gpt2": _preset(768, 12, 12),
    "gpt2-medium": _preset(1024, 24, 16),
    "gpt2-large": _preset(1280, 36, 20),
    "gpt2-xl": _preset(1600, 48, 25),
    "gpt3-175b": _preset(12288, 96, 96, n_positions=2048),
}

SPEC = Spec(
    name="gpt2",
    family="decoder",
    hf_architectures=("GPT2LMHeadModel", "GPT2Model"),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="transformer",
    ignored=(r"\.attn\.(masked_)?bias$", r"^lm_head\.weight$"),
    heads=decoder_forms("transformer", tokens="classifier"),
)
