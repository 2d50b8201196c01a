"""Span corruption: runs of tokens are taken out, and a decoder writes them down.

    text     Thank you for inviting me to your party last week .
    source   Thank you <0> me to your party <1> week . </s>
    target   <0> for inviting <1> last </s>

15% of the tokens in spans of 3 on average: as many spans as make that mean, the tokens taken out
and those left cut at random into so many runs, one of each in turn, a run that is left first.
Source: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4, and the preprocessing the authors
published (`random_spans_noise_mask`, `random_spans_helper`). Theirs ends the target with the last
span, as here; the paper's figure draws one more sentinel behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.objectives.cross_entropy import LossSum, loss
from tutelage.objectives.drawing import numbers, parts
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.sentinels import sentinel_ids

__all__ = ["LossSum", "Spans", "example", "loss"]

SHARE, MEAN = 0.15, 3.0


@dataclass(frozen=True)
class Spans:
    """What is taken out, and what stands for it. `sentinels` are ids in the order of their use,
    `start` what a decoder's rows begin with, `end` what ends source and target; `mean` is in
    tokens."""

    sentinels: tuple[int, ...]
    start: int
    end: int
    share: float = SHARE
    mean: float = MEAN

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(
                "no share of the tokens", field="share", got=self.share, expected="between 0 and 1"
            )
        if not self.mean >= 1:
            raise ConfigError(
                "no possible length of spans", field="mean", got=self.mean, expected="1 or more"
            )

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, start: int, *, share: float = SHARE, mean: float = MEAN
    ) -> Spans:
        """For the texts of a tokenizer. Raises ConfigError where it has no sentinels or no end
        token, or a setting is impossible."""
        sentinels = tuple(sentinel_ids(tokenizer))
        if not sentinels:
            raise ConfigError(
                "span corruption needs tokens that stand for what is taken out",
                field="sentinels",
                expected="a tokenizer with <extra_id_0>, <extra_id_1> ...",
                hint="tokenizer train --kind unigram has 100 of them",
            )
        if tokenizer.eos_id is None:
            raise ConfigError(
                "span corruption needs an end token", field="eos_token", expected="one, as </s>"
            )
        return cls(sentinels, start, tokenizer.eos_id, share, mean)

    def count(self, length: int) -> tuple[int, int]:
        """How many of so many tokens are taken out, and in how many spans."""
        if length < 2:
            return 0, 0
        out = min(max(round(length * self.share), 1), length - 1)
        return out, min(max(round(out / self.mean), 1), out, length - out)

    def lengths(self, text: int) -> tuple[int, int]:
        """Tokens of the source and of the target that a text of so many tokens becomes."""
        out, spans = self.count(text)
        return text - out + spans + 1, out + spans + 1

    def text_length(self, source: int) -> int:
        """Tokens of the longest text whose source has at most so many; 568 for T5's 512."""
        length = source
        while self.lengths(length + 1)[0] <= source:
            length += 1
        while length and self.lengths(length)[0] > source:
            length -= 1
        return length


def example(
    ids: Sequence[int],
    spans: Spans,
    *,
    seed: int,
    epoch: int,
    row: int | str,
    weight: float = 1.0,
    name: str = "",
) -> Example:
    """A text without its end token, corrupted. Raises ConfigError where its spans are more than
    there are sentinels."""
    out, count = spans.count(len(ids))
    if count > len(spans.sentinels):
        raise ConfigError(
            "too few sentinels for a text of this length",
            field="sentinels",
            got=f"{len(spans.sentinels)} for {len(ids)} tokens",
            expected=f"at least {count}",
            hint="cut texts shorter",
        )
    source, target = _cut(ids, out, spans.sentinels[:count], numbers(seed, epoch, row))
    return Example.pair(
        [*source, spans.end], [*target, spans.end], spans.start, weight=weight, name=name
    )


def _cut(
    ids: Sequence[int], out: int, sentinels: Sequence[int], drawn: np.random.Generator
) -> tuple[list[int], list[int]]:
    """What is left of a text and what was taken out of it, a sentinel for each span in both."""
    if not sentinels:
        return list(ids), []
    source: list[int] = []
    target: list[int] = []
    place = 0
    taken = parts(out, len(sentinels), drawn)
    kept = parts(len(ids) - out, len(sentinels), drawn)
    for sentinel, left, gone in zip(sentinels, kept, taken, strict=True):
        source += [*ids[place : place + left], sentinel]
        target += [sentinel, *ids[place + left : place + left + gone]]
        place += left + gone
    return source, target
