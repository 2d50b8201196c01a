"""A decoder whose layers see a pattern of keys: a window, strides, or blocks.

Source: Child et al. 2019, arXiv:1904.10509 (strided); Beltagy et al. 2020, arXiv:2004.05150
(window); Zaheer et al. 2020, arXiv:2007.14062 (blocks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tutelage.models.architectures import _plain
from tutelage.models.architectures._plain import PlainConfig, preset, tiny
from tutelage.models.fields import known, settled
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.nn.pairs import BlockPairs, StridedPairs, WindowPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attend import Sees

CLASS = "SparseTransformerForCausalLM"


@dataclass(frozen=True)
class SparseConfig(PlainConfig):
    """`reach` is the window's size, the stride, or the length of a block."""

    pattern: Literal["window", "strided", "blocks"] = "window"
    reach: int = 128


def read(config: Mapping[str, Any]) -> SparseConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    return settled(SparseConfig, known(config, SparseConfig))


def shape(config: SparseConfig) -> Shape:
    if config.pattern == "blocks":
        return _plain.shape(config, BlockPairs(config.reach))
    kind = WindowPairs if config.pattern == "window" else StridedPairs
    return _plain.shape(config, kind(config.reach))


def layout(config: SparseConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    return _plain.layout(config)


def build(config: SparseConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.nn.attend import Rule
    from tutelage.nn.attention import Attention, Heads

    heads = Heads(config.num_attention_heads, config.num_attention_heads, config.head_width)
    rule = Rule(sees=_sees(config))
    return _plain.build(config, lambda layer: Attention(config.hidden_size, heads, rule))


def _sees(config: SparseConfig) -> Sees:
    from tutelage.nn.patterns import Blocks, Strided, Window

    if config.pattern == "blocks":
        return Blocks(config.reach)
    return (Window if config.pattern == "window" else Strided)(config.reach)


PRESETS = {
    "window-tiny": tiny(CLASS, pattern="window", reach=32),
    "strided-tiny": tiny(CLASS, pattern="strided", reach=16),
    "blocks-tiny": tiny(CLASS, pattern="blocks", reach=16),
    "strided-enwik8": preset(
        CLASS, 512, 30, 8, vocab_size=260, max_position_embeddings=12288, pattern="strided",
        reach=128,
    ),
}  # fmt: skip

SPEC = Spec(
    name="sparse_transformer",
    family="decoder",
    hf_architectures=(CLASS,),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
