"""The Transformer of 2017: encoder and decoder, post-norm, sinusoidal positions, one token table.

    x = sqrt(C) E[token] + sinusoid(position),     scores = E x

Source: Vaswani et al. 2017, arXiv:1706.03762, sections 3.1 to 3.5 and table 3; the projections of
attention without biases, and matrices that begin as Glorot's, as in the authors' code. Its dropout
and its label smoothing belong to training and are no part of the model. No checkpoint of it was
published: files have the names of BART's, whose blocks these are (`bart.py`).

Table 3 counts 65M parameters for the base and 213M for the big model. With the 37,000 tokens of
section 5.1 they are 63.0M and 214.2M; no one vocabulary gives both of the table's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.architectures.bart import Stack, build_block, stack_layout, token_table
from tutelage.models.fields import settled
from tutelage.models.parts import divisible, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.encoder_decoder import EncoderDecoder


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of one model: N layers in either stack, C, F and H of the paper's table 3."""

    vocab_size: int
    num_layers: int
    d_model: int
    d_ff: int
    num_heads: int
    decoder_start_token_id: int


def read(config: Mapping[str, Any]) -> TransformerConfig:
    """From a config.json of ours. Raises ConfigError for what is not honoured."""
    refuse(config, is_encoder_decoder=True, tie_word_embeddings=True)
    start = config.get("decoder_start_token_id")
    wanted = {
        "vocab_size": config.get("vocab_size", 37_000),
        "num_layers": config.get("num_layers", 6),
        "d_model": config.get("d_model", 512),
        "d_ff": config.get("d_ff", 2048),
        "num_heads": config.get("num_heads", 8),
        "decoder_start_token_id": (config.get("pad_token_id") or 0) if start is None else start,
    }
    built = settled(TransformerConfig, wanted)
    divisible(built.d_model, built.num_heads, "num_heads")
    return built


def _stack(config: TransformerConfig, name: str, before: int = 0) -> Stack:
    return Stack(
        name, config.num_layers, config.d_model, config.num_heads, config.d_ff, "relu", before,
        bias=False, start=None,
    )  # fmt: skip


def shape(config: TransformerConfig) -> Shape:
    return Shape(
        layers=config.num_layers,
        width=config.d_model,
        heads=config.num_heads,
        kv_heads=config.num_heads,
        head_width=config.d_model // config.num_heads,
        vocabulary=config.vocab_size,
        context=None,
        encoder_layers=config.num_layers,
        start=config.decoder_start_token_id,
    )


def layout(config: TransformerConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass; the decoder's layers are counted on
    from the encoder's."""
    yield token_table(config.vocab_size, config.d_model, config.d_model**-0.5)
    yield from stack_layout(_stack(config, "encoder"))
    yield from stack_layout(_stack(config, "decoder", config.num_layers))


def build(config: TransformerConfig) -> EncoderDecoder:
    """The module, its weights not yet set."""
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.models.transformer import Transformer
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.positions import Sinusoidal

    table = Embedding(config.vocab_size, config.d_model)

    def stack(name: str, head: Head | None) -> Transformer:
        blocks = [build_block(_stack(config, name)) for _ in range(config.num_layers)]
        embed = Embed(table, Sinusoidal(config.d_model), scale=config.d_model**0.5)
        return Transformer(embed=embed, blocks=blocks, norm=None, head=head, context=None)

    return EncoderDecoder(
        stack("encoder", None), stack("decoder", Head()), config.decoder_start_token_id
    )


def _preset(width: int, hidden: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["Transformer2017"],
        "model_type": "transformer2017",
        "is_encoder_decoder": True,
        "num_layers": 6,
        "d_model": width,
        "d_ff": hidden,
        "num_heads": heads,
        "vocab_size": 37_000,
        **more,
    }


PRESETS = {
    "transformer-tiny": _preset(64, 256, 4, num_layers=2, vocab_size=260),
    "transformer-base": _preset(512, 2048, 8),
    "transformer-big": _preset(1024, 4096, 16),
}

SPEC = Spec(
    name="transformer2017",
    family="encoder-decoder",
    hf_architectures=("Transformer2017",),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="model",
    ignored=(r"^lm_head\.weight$",),
)
