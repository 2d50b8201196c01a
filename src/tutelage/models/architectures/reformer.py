"""A decoder whose tokens attend inside clusters of like ones, found by hashing.

Source: Kitaev et al. 2020, arXiv:2001.04451. Differs: no reversible layers, and `nn/clusters.py`
says how clusters are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.models.architectures import _plain
from tutelage.models.architectures._plain import PlainConfig, preset, tiny
from tutelage.models.fields import known, settled
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.nn.pairs import ClusterPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

CLASS = "ClusterTransformerForCausalLM"


@dataclass(frozen=True)
class ClusterConfig(PlainConfig):
    """`num_buckets` is even; a token sees `most` tokens of its bucket in each of `rounds`."""

    num_buckets: int = 32
    most: int = 64
    rounds: int = 2
    seed: int = 0


def read(config: Mapping[str, Any]) -> ClusterConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    built = settled(ClusterConfig, known(config, ClusterConfig))
    if built.num_buckets < 2 or built.num_buckets % 2:
        raise ConfigError(
            "buckets come in pairs", field="num_buckets", got=built.num_buckets,
            expected="an even number",
        )  # fmt: skip
    return built


def shape(config: ClusterConfig) -> Shape:
    kept = ClusterPairs(
        config.num_buckets, config.most, config.rounds, config.hidden_size,
        config.num_attention_heads,
    )  # fmt: skip
    return _plain.shape(config, kept)


def layout(config: ClusterConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    return _plain.layout(config, projections="qv")


def build(config: ClusterConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.nn.attention import Heads
    from tutelage.nn.clusters import ClusterAttention

    heads = Heads(config.num_attention_heads, config.num_attention_heads, config.head_width)

    def attention(layer: int) -> ClusterAttention:
        return ClusterAttention(
            config.hidden_size, heads, buckets=config.num_buckets, most=config.most,
            rounds=config.rounds, seed=config.seed + layer,
        )  # fmt: skip

    return _plain.build(config, attention)


PRESETS = {
    "reformer-tiny": tiny(CLASS, num_buckets=8, most=16),
    "reformer-small": preset(
        CLASS, 512, 6, 8, vocab_size=320, max_position_embeddings=16384, num_buckets=128
    ),
}

SPEC = Spec(
    name="reformer",
    family="decoder",
    hf_architectures=(CLASS,),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
