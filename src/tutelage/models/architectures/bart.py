"""BART: the Transformer of 2017 with learned positions, GELU, and a norm behind the embedding.

Source: Lewis et al. 2020, arXiv:1910.13461, section 2.1: an encoder as BERT's, a decoder as GPT's,
post-norm; one token table for both and for the scores. Position m reads row m + 2 of its stack's
table, whose first rows fairseq kept for padding. Files hold a bias of the scores
(`final_logits_bias`), zero in all published models, which no training changes. No dropout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import settled
from tutelage.models.parts import activation, divisible, linear, norm, refuse
from tutelage.models.spec import CONSTANT, Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.models.transformer import Transformer
    from tutelage.nn.block import PostNorm
    from tutelage.nn.embedding import Embedding

OFFSET = 2
"""Rows of a position table before that of the first position."""
EPSILON = 1e-5
PROJECTIONS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}


@dataclass(frozen=True)
class BartConfig:
    """The shape of one model, in Hugging Face's field names."""

    vocab_size: int
    d_model: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_layers: int
    decoder_attention_heads: int
    decoder_ffn_dim: int
    activation_function: str
    max_position_embeddings: int
    scale_embedding: bool
    init_std: float
    decoder_start_token_id: int


@dataclass(frozen=True)
class Stack:
    """One of the two stacks; the decoder's layers attend to the encoder's vectors."""

    name: str
    layers: int
    width: int
    heads: int
    hidden: int
    activation: str
    before: int = 0
    """Layers counted before its first."""
    bias: bool = True
    """Whether attention's projections have biases."""
    start: float | None = 0.02
    """Deviation of every matrix as it begins; None is Glorot's, sqrt(2 / (in + out))."""

    @property
    def decodes(self) -> bool:
        return self.name == "decoder"

    def deviation(self, out: int, into: int) -> float:
        """Of a matrix of this shape, as it begins."""
        return math.sqrt(2 / (out + into)) if self.start is None else self.start


def read(config: Mapping[str, Any]) -> BartConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, is_encoder_decoder=True, is_decoder=False, tie_word_embeddings=True)
    refuse(config, normalize_before=False, add_final_layer_norm=False, normalize_embedding=True)
    refuse(config, static_position_embeddings=False, add_bias_logits=False)
    wanted = {
        "vocab_size": config.get("vocab_size", 50265),
        "d_model": config.get("d_model", 1024),
        "activation_function": activation(config, "activation_function", "gelu"),
        "max_position_embeddings": config.get("max_position_embeddings", 1024),
        "scale_embedding": config.get("scale_embedding") or False,
        "init_std": config.get("init_std", 0.02),
        "decoder_start_token_id": config.get("decoder_start_token_id", 2),
    }
    for name, default in (("layers", 12), ("attention_heads", 16), ("ffn_dim", 4096)):
        for field in (f"encoder_{name}", f"decoder_{name}"):
            wanted[field] = config.get(field, default)
    built = settled(BartConfig, wanted)
    for stack in _stacks(built):
        divisible(built.d_model, stack.heads, f"{stack.name}_attention_heads")
    return built


def _stacks(config: BartConfig) -> tuple[Stack, Stack]:
    settings: dict[str, Any] = {"activation": config.activation_function, "start": config.init_std}
    return (
        Stack(
            "encoder", config.encoder_layers, config.d_model, config.encoder_attention_heads,
            config.encoder_ffn_dim, **settings,
        ),
        Stack(
            "decoder", config.decoder_layers, config.d_model, config.decoder_attention_heads,
            config.decoder_ffn_dim, **settings, before=config.encoder_layers,
        ),
    )  # fmt: skip


def shape(config: BartConfig) -> Shape:
    return Shape(
        layers=config.decoder_layers,
        width=config.d_model,
        heads=config.decoder_attention_heads,
        kv_heads=config.decoder_attention_heads,
        head_width=config.d_model // config.decoder_attention_heads,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        encoder_layers=config.encoder_layers,
        start=config.decoder_start_token_id,
    )


def layout(config: BartConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass; the decoder's layers are counted on
    from the encoder's."""
    width, rows = config.d_model, config.max_position_embeddings + OFFSET
    yield token_table(config.vocab_size, width, config.init_std)
    for stack in _stacks(config):
        ours, theirs = f"{stack.name}.embed", f"model.{stack.name}"
        yield Weight(
            f"{ours}.positions.weight", f"{theirs}.embed_positions.weight", (rows, width),
            "embed.position", start=config.init_std,
        )  # fmt: skip
        yield from norm(f"{ours}.norm", f"{theirs}.layernorm_embedding", width, bias=True)
        yield from stack_layout(stack)
    vocabulary = config.vocab_size
    yield Weight(
        "decoder.head.bias", "final_logits_bias", (vocabulary,), CONSTANT, stored=(1, vocabulary)
    )


def token_table(vocabulary: int, width: int, start: float) -> Weight:
    """The one table of both stacks and of the head."""
    others = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    return Weight(
        "encoder.embed.tokens.weight", "model.shared.weight", (vocabulary, width), "embed",
        others=(*others, "lm_head.weight"), start=start,
    )  # fmt: skip


def stack_layout(stack: Stack) -> Iterator[Weight]:
    """The weights of a stack's blocks."""
    parts = [("attn", "self_attn"), ("cross", "encoder_attn")][: 2 if stack.decodes else 1]
    for i in range(stack.layers):
        ours, theirs, layer = f"{stack.name}.blocks.{i}", f"model.{stack.name}.layers.{i}", i
        layer += stack.before
        for part, hf_name in parts:
            for name in ("q", "k", "v", "o"):
                yield from linear(
                    f"{ours}.{part}.{name}", f"{theirs}.{hf_name}.{PROJECTIONS[name]}",
                    stack.width, stack.width, f"{part}.{name}", layer, bias=stack.bias,
                    start=stack.deviation(stack.width, stack.width),
                )  # fmt: skip
            yield from norm(
                f"{ours}.norm_{part}", f"{theirs}.{hf_name}_layer_norm", stack.width, layer,
                bias=True,
            )  # fmt: skip
        for name, hf_name, out, into in (
            ("up", "fc1", stack.hidden, stack.width),
            ("down", "fc2", stack.width, stack.hidden),
        ):
            yield from linear(
                f"{ours}.mlp.{name}", f"{theirs}.{hf_name}", out, into, f"mlp.{name}", layer,
                bias=True, start=stack.deviation(out, into),
            )  # fmt: skip
        yield from norm(
            f"{ours}.norm_mlp", f"{theirs}.final_layer_norm", stack.width, layer, bias=True
        )


def build(config: BartConfig) -> EncoderDecoder:
    """The module, its weights not yet set."""
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.nn.embedding import Embedding
    from tutelage.nn.head import Head

    table = Embedding(config.vocab_size, config.d_model)
    head = Head(vocabulary=config.vocab_size, constant=True)
    encoder, decoder = _stacks(config)
    return EncoderDecoder(
        _build_stack(config, table, encoder, None),
        _build_stack(config, table, decoder, head),
        config.decoder_start_token_id,
    )


def _build_stack(config: BartConfig, table: Embedding, stack: Stack, head: Any) -> Transformer:
    from tutelage.models.transformer import Transformer
    from tutelage.nn.embedding import Embed
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.positions import Learned

    width, rows = config.d_model, config.max_position_embeddings + OFFSET
    return Transformer(
        embed=Embed(
            table,
            Learned(rows, width, OFFSET),
            norm=LayerNorm(width, EPSILON),
            scale=width**0.5 if config.scale_embedding else 1.0,
        ),
        blocks=[build_block(stack) for _ in range(stack.layers)],
        norm=None,
        head=head,
        context=config.max_position_embeddings,
    )


def build_block(stack: Stack) -> PostNorm:
    """One layer of a stack, its weights not yet set."""
    from tutelage.nn.attend import Rule
    from tutelage.nn.attention import Attention, CrossAttention, Heads
    from tutelage.nn.block import PostNorm
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm

    heads = Heads(stack.heads, stack.heads, stack.width // stack.heads)
    rule, bias = Rule(causal=stack.decodes), stack.bias
    cross = None
    if stack.decodes:
        cross = CrossAttention(stack.width, heads, bias=bias, bias_out=bias)
    return PostNorm(
        Attention(stack.width, heads, rule, bias=bias, bias_out=bias),
        MLP(stack.width, stack.hidden, stack.activation),
        LayerNorm(stack.width, EPSILON),
        LayerNorm(stack.width, EPSILON),
        cross,
        LayerNorm(stack.width, EPSILON) if stack.decodes else None,
    )


def _preset(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
    stacks = {f"{s}_{name}": size for s in ("encoder", "decoder") for name, size in sizes.items()}
    return {
        "architectures": ["BartForConditionalGeneration"],
        "model_type": "bart",
        "is_encoder_decoder": True,
        "d_model": width,
        **stacks,
        "vocab_size": 50265,
        "max_position_embeddings": 1024,
        "activation_function": "gelu",
        "init_std": 0.02,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
        **more,
    }


PRESETS = {
    "bart-tiny": _preset(64, 2, 4, vocab_size=260, max_position_embeddings=512),
    "bart-base": _preset(768, 6, 12),
    "bart-large": _preset(1024, 12, 16),
}

SPEC = Spec(
    name="bart",
    family="encoder-decoder",
    hf_architectures=("BartForConditionalGeneration",),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="model",
    ignored=(
        r"^(model\.)?(encoder|decoder)\.(embed_tokens\.weight|version)$",
        r"^lm_head\.weight$",
    ),
)
