"""Transformer-XL: a segment at a time, with the vectors of the last one as memory.

Source: Dai et al. 2019, arXiv:1901.02860. Differs: norms stand before each part, where the paper's
stand after; the softmax over the vocabulary is a plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.architectures import _plain
from tutelage.models.architectures._plain import PlainConfig, preset, tiny
from tutelage.models.fields import known, settled
from tutelage.models.parts import linear
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.nn.pairs import SegmentPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

CLASS = "TransformerXLForCausalLM"


@dataclass(frozen=True)
class XLConfig(PlainConfig):
    """`segment` is the length of a segment and of its memory."""

    segment: int = 128


def read(config: Mapping[str, Any]) -> XLConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    return settled(XLConfig, known(config, XLConfig))


def shape(config: XLConfig) -> Shape:
    return _plain.shape(config, SegmentPairs(config.segment, config.hidden_size))


def layout(config: XLConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    width, biases = config.hidden_size, (config.num_attention_heads, config.head_width)

    def extra(path: str, layer: int) -> Iterator[Weight]:
        yield from linear(f"{path}.r", f"{path}.r", width, width, "attn.r", layer)
        for name in ("content_bias", "position_bias"):
            yield Weight(f"{path}.{name}", f"{path}.{name}", biases, "attn.bias", layer)

    return _plain.layout(config, positions=False, extra=extra)


def build(config: XLConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.nn.attention import Heads
    from tutelage.nn.segments import SegmentAttention

    heads = Heads(config.num_attention_heads, config.num_attention_heads, config.head_width)
    return _plain.build(
        config,
        lambda layer: SegmentAttention(config.hidden_size, heads, config.segment),
        positions=False,
    )


PRESETS = {
    "transformer-xl-tiny": tiny(CLASS, segment=32),
    "transformer-xl-base": preset(
        CLASS, 410, 16, 10, vocab_size=267735, max_position_embeddings=4096, segment=150
    ),
}

SPEC = Spec(
    name="transformer_xl",
    family="decoder",
    hf_architectures=(CLASS,),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
