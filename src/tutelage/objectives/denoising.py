"""Denoising as of BART: a text is damaged, and a decoder writes the whole of it again.

    text        A B C . D E .
    infilling   A _ . D _ E .       a mask for each span, whatever its length
    deletion    A C . D E           nothing in place of what is gone
    permutation D E . A B C .       sentences in another order

Infilling takes spans of Poisson(3) tokens out until 30% of the tokens are gone; one of length 0
puts a mask where nothing is missing. By default every text is infilled and its sentences are
permuted, as the published models were trained; deletion is off.
Source: Lewis et al. 2020, arXiv:1910.13461, sections 2.2 and 5.1. We differ in that spans begin at
any token, where the authors' code begins them at words.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.objectives.cross_entropy import LossSum, loss
from tutelage.objectives.drawing import numbers
from tutelage.text.tokenizer import Tokenizer

__all__ = ["LossSum", "Noise", "deleted", "example", "infilled", "loss", "permuted"]

INFILL, MEAN = 0.3, 3.0
STOPS = (".", "!", "?")


@dataclass(frozen=True)
class Noise:
    """How a text is damaged. `mask` stands for a span, `start` is what a decoder's rows begin with,
    `before` and `after` what a tokenizer puts around a row, `stops` the ids a sentence ends with;
    `infill` and `delete` are shares of the tokens, `mean` is in tokens."""

    mask: int
    start: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    stops: frozenset[int]
    infill: float = INFILL
    mean: float = MEAN
    permute: bool = True
    delete: float = 0.0

    def __post_init__(self) -> None:
        for field in ("infill", "delete"):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(
                    "no share of the tokens", field=field, got=getattr(self, field),
                    expected="at least 0, below 1",
                )  # fmt: skip
        if not self.mean > 0:
            raise ConfigError(
                "no possible length of spans", field="mean", got=self.mean, expected="above 0"
            )

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        start: int,
        *,
        infill: float = INFILL,
        mean: float = MEAN,
        permute: bool = True,
        delete: float = 0.0,
    ) -> Noise:
        """For the texts of a tokenizer. Raises ConfigError where it has no mask or end token, or a
        setting is impossible."""
        mask = tokenizer.special.mask and tokenizer.id(tokenizer.special.mask)
        after = tokenizer.suffix or tuple(id for id in (tokenizer.eos_id,) if id is not None)
        for field, there in (("mask_token", mask is not None), ("eos_token", bool(after))):
            if not there:
                raise ConfigError(
                    "denoising needs a mask and an end token", field=field, expected="a token"
                )
        assert isinstance(mask, int)
        ids = range(tokenizer.vocabulary)
        stops = frozenset(id for id in ids if (tokenizer.token(id) or "").endswith(STOPS))
        return cls(
            mask, start, tokenizer.prefix, after, stops - tokenizer.control_ids, infill, mean,
            permute, delete,
        )  # fmt: skip


def example(
    ids: Sequence[int],
    noise: Noise,
    *,
    seed: int,
    epoch: int,
    row: int | str,
    weight: float = 1.0,
    name: str = "",
) -> Example:
    """A text, without what the tokenizer puts around it: damaged for the encoder, whole for the
    decoder."""
    drawn = numbers(seed, epoch, row)
    damaged = permuted(ids, noise.stops, drawn) if noise.permute else list(ids)
    damaged = deleted(damaged, noise.delete, drawn)
    damaged = infilled(damaged, noise.mask, noise.infill, noise.mean, drawn)
    source = [*noise.before, *damaged, *noise.after]
    target = [*noise.before, *ids, *noise.after]
    return Example.pair(source, target, noise.start, weight=weight, name=name)


def permuted(ids: Sequence[int], stops: Collection[int], drawn: np.random.Generator) -> list[int]:
    """The sentences in random order; what stands behind the last stop is one too."""
    ends = [place + 1 for place, id in enumerate(ids) if id in stops]
    edges = [0, *ends] if ends and ends[-1] == len(ids) else [0, *ends, len(ids)]
    order = drawn.permutation(len(edges) - 1).tolist()
    return [id for one in order for id in ids[edges[one] : edges[one + 1]]]


def deleted(ids: Sequence[int], share: float, drawn: np.random.Generator) -> list[int]:
    """Without a random share of the tokens, rounded."""
    gone = set(drawn.permutation(len(ids))[: round(share * len(ids))].tolist())
    return [id for place, id in enumerate(ids) if place not in gone]


def infilled(
    ids: Sequence[int], mask: int, share: float, mean: float, drawn: np.random.Generator
) -> list[int]:
    """With masks for spans that hold a share of the tokens, rounded up. Spans do not touch."""
    wanted = int(np.ceil(share * len(ids)))
    lengths = _lengths(wanted, len(ids) - wanted + 1, mean, drawn)
    gaps = np.sort(drawn.permutation(len(ids) - wanted + 1)[: len(lengths)]).tolist()
    found: list[int] = []
    place = gone = 0
    for gap, length in zip(gaps, lengths, strict=True):
        found += [*ids[place : gap + gone], mask]
        gone += length
        place = gap + gone
    return [*found, *ids[place:]]


def _lengths(wanted: int, most: int, mean: float, drawn: np.random.Generator) -> list[int]:
    """Poisson lengths, at most so many, whose sum is `wanted`: the last is cut to fit. Where there
    is no room for more spans the last takes the rest."""
    lengths: list[int] = []
    left = wanted
    while left:
        length = min(int(drawn.poisson(mean)), left)
        if len(lengths) == most:
            lengths[-1] += left
            break
        lengths.append(length)
        left -= length
    return [lengths[place] for place in drawn.permutation(len(lengths))]
