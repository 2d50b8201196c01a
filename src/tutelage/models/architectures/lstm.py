"""The LSTM language model that transformers replaced, as a baseline.

Source: Zaremba et al. 2014, arXiv:1409.2329 (stacked layers); tied head as in Press and Wolf 2017,
arXiv:1608.05859. Hugging Face has no such class; the names are those of PyTorch's LSTM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import known, settled
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.nn.pairs import StepPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class LSTMConfig:
    """The shape of one model. It has no longest context; `seq_length` is what it is trained on."""

    vocab_size: int = 10_000
    hidden_size: int = 650
    num_hidden_layers: int = 2
    seq_length: int = 512
    tie_word_embeddings: bool = True


def read(config: Mapping[str, Any]) -> LSTMConfig:
    """From config.json. Raises ConfigError for values that cannot be."""
    return settled(LSTMConfig, known(config, LSTMConfig))


def shape(config: LSTMConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=0,
        kv_heads=0,
        head_width=0,
        vocabulary=config.vocab_size,
        context=config.seq_length,
        sees=(StepPairs(config.hidden_size),) * config.num_hidden_layers,
    )


def layout(config: LSTMConfig) -> Iterator[Weight]:
    """Every stored weight; matrices begin as Normal(0, C^-0.5 / sqrt 3), of the deviation of
    PyTorch's uniform start."""
    width = config.hidden_size
    table, start = (config.vocab_size, width), (3 * width) ** -0.5
    yield Weight("embed.tokens.weight", "embed_tokens.weight", table, "embed")
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}.cell", f"layers.{i}"
        for part, role in (("ih", "lstm.input"), ("hh", "lstm.hidden")):
            name = f"weight_{part}_l0"
            yield Weight(
                f"{ours}.{name}", f"{theirs}.{name}", (4 * width, width), role, i, start=start
            )
        for part in ("ih", "hh"):
            name = f"bias_{part}_l0"
            yield Weight(
                f"{ours}.{name}", f"{theirs}.{name}", (4 * width,), "lstm.bias", i, start="zeros"
            )
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", table, "head")


def build(config: LSTMConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.recurrent import LSTMLayer

    width, tied = config.hidden_size, config.tie_word_embeddings
    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width)),
        blocks=[LSTMLayer(width, width) for _ in range(config.num_hidden_layers)],
        norm=None,
        head=Head(None if tied else Linear(width, config.vocab_size, "head")),
        context=config.seq_length,
    )


def _preset(width: int, layers: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["LSTMForCausalLM"],
        "model_type": "lstm",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "initializer_range": 0.05,
        **more,
    }


PRESETS = {
    "lstm-tiny": _preset(64, 2, vocab_size=260, seq_length=512),
    "lstm-small": _preset(320, 2, vocab_size=10_000),
    "lstm-medium": _preset(650, 2, vocab_size=10_000),
    "lstm-large": _preset(1500, 2, vocab_size=10_000),
}

SPEC = Spec(
    name="lstm",
    family="decoder",
    hf_architectures=("LSTMForCausalLM",),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
)
