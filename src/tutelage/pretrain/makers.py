"""What each objective makes of a window of the stream: how long it is, and the row it becomes.

made = maker("mlm", tokenizer, checkpoint.config, context=512, seed=0)
made.row(tokens, 17)            # the 18th row of the training order, the same in every run
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.models.catalogue import spec_for
from tutelage.models.spec import Family
from tutelage.text.tokenizer import Tokenizer

OBJECTIVES: Mapping[str, tuple[Family, ...]] = {
    "clm": ("decoder",),
    "prefix": ("decoder",),
    "mlm": ("encoder",),
    "span": ("encoder-decoder",),
    "denoise": ("encoder-decoder",),
}
"""Which families each is for. The first of a family is its default."""


@dataclass(frozen=True)
class Maker:
    """`window` tokens of the stream become a row that is no longer than the context; `row` takes
    them with one more, which only predicting the next token needs, and their place in the order."""

    name: str
    window: int
    row: Callable[[Sequence[int], int], Example]


def objective_of(config: Mapping[str, Any], asked: str | None) -> str:
    """The objective asked for, or the family's own. Raises ConfigError where it is for another."""
    family = spec_for(config).family
    fitting = [name for name, families in OBJECTIVES.items() if family in families]
    if asked is not None and asked not in fitting:
        raise ConfigError(
            f"this objective is not for an {family}" if family[0] == "e" else
            f"this objective is not for a {family}",
            field="training.objective",
            got=asked,
            expected=" or ".join(fitting),
        )  # fmt: skip
    return asked or fitting[0]


def maker(
    name: str, tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int
) -> Maker:
    """Raises ConfigError where the tokenizer lacks a token that the objective needs, or the context
    is too short for one row."""
    made = {"clm": _clm, "prefix": _prefix, "mlm": _mlm, "span": _span, "denoise": _denoise}[name](
        tokenizer, config, context, seed
    )
    if made.window < 2:
        raise ConfigError(
            "too short for one row", field="model.context", got=context, expected="more tokens"
        )
    return made


def _clm(tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int) -> Maker:
    def row(ids: Sequence[int], position: int) -> Example:
        at = tuple(range(len(ids) - 1))
        return Example(tuple(ids[:-1]), at, tuple(ids[1:]), name=f"window {position}")

    return Maker("clm", context, row)


def _prefix(tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int) -> Maker:
    from tutelage.objectives import prefix_lm

    def row(ids: Sequence[int], position: int) -> Example:
        return prefix_lm.example(ids, seed=seed, epoch=0, row=position, name=f"window {position}")

    return Maker("prefix", context, row)


def _mlm(tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int) -> Maker:
    from tutelage.objectives import mlm

    masking = mlm.Masking.of(tokenizer)
    before, after = tokenizer.prefix, tokenizer.suffix

    def row(ids: Sequence[int], position: int) -> Example:
        whole = (*before, *ids[:-1], *after)
        return mlm.example(
            whole, masking, seed=seed, epoch=0, row=position, name=f"window {position}"
        )

    return Maker("mlm", context - len(before) - len(after), row)


def _span(tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int) -> Maker:
    from tutelage.objectives import span_corruption

    spans = span_corruption.Spans.of(tokenizer, _first(config))
    # A row has no more spans than there are sentinels.
    window = spans.text_length(context)
    while spans.count(window)[1] > len(spans.sentinels):
        window -= 1

    def row(ids: Sequence[int], position: int) -> Example:
        return span_corruption.example(
            ids[:-1], spans, seed=seed, epoch=0, row=position, name=f"window {position}"
        )

    return Maker("span", window, row)


def _denoise(tokenizer: Tokenizer, config: Mapping[str, Any], context: int, seed: int) -> Maker:
    from tutelage.objectives import denoising

    noise = denoising.Noise.of(tokenizer, _first(config))

    def row(ids: Sequence[int], position: int) -> Example:
        return denoising.example(
            ids[:-1], noise, seed=seed, epoch=0, row=position, name=f"window {position}"
        )

    return Maker("denoise", context - len(noise.before) - len(noise.after) - 1, row)


def _first(config: Mapping[str, Any]) -> int:
    """The token a decoder's rows begin with."""
    read = spec_for(config).read(config)
    return int(read.decoder_start_token_id)
