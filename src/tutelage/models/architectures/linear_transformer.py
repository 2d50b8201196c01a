"""A decoder whose attention is a running sum: time linear in the length, a state of fixed size.

Source: Katharopoulos et al. 2020, arXiv:2006.16236.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tutelage.models.architectures import _plain
from tutelage.models.architectures._plain import PlainConfig, preset, tiny
from tutelage.models.fields import known, settled
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.nn.pairs import SumPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

CLASS = "LinearTransformerForCausalLM"


def read(config: Mapping[str, Any]) -> PlainConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    return settled(PlainConfig, known(config, PlainConfig))


def shape(config: PlainConfig) -> Shape:
    return _plain.shape(config, SumPairs(config.num_attention_heads, config.head_width))


def layout(config: PlainConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    return _plain.layout(config)


def build(config: PlainConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.nn.attention import Heads
    from tutelage.nn.linear_attention import LinearAttention

    heads = Heads(config.num_attention_heads, config.num_attention_heads, config.head_width)
    return _plain.build(config, lambda layer: LinearAttention(config.hidden_size, heads))


PRESETS = {
    "linear-tiny": tiny(CLASS),
    "linear-small": preset(CLASS, 768, 12, 12, vocab_size=50257, max_position_embeddings=4096),
}

SPEC = Spec(
    name="linear_transformer",
    family="decoder",
    hf_architectures=(CLASS,),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
