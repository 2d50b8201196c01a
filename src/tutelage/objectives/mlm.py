"""Masked language modelling: some tokens are hidden, and each is predicted from the whole row.

    15% of the tokens are to be predicted; of these the model reads
    80%  the mask        10%  some other token        10%  the token itself

Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 and appendix A.1; with the words of a
vocabulary hidden as wholes, as in their later code; with new masks in every epoch, as in RoBERTa
(Liu et al. 2019, arXiv:1907.11692, section 4.1). We differ in what is put in for a token: never a
control token. The masks follow from (seed, epoch, row) alone, so that a run that is resumed sees
the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.objectives.cross_entropy import LossSum, loss
from tutelage.objectives.drawing import numbers
from tutelage.text.tokenizer import Tokenizer
from tutelage.text.words import continuations

__all__ = ["LossSum", "Masking", "example", "loss"]

SHARE = 0.15
MASK, OTHER = 0.8, 0.1
"""Of the tokens to be predicted, those that are masked and those that are replaced."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Masking:
    """Which tokens are hidden, and by what. `mask` is the id that hides; ids of `control` are never
    hidden nor put in; a token of `inside` is hidden together with the one before it."""

    mask: int
    vocabulary: int
    control: frozenset[int]
    inside: frozenset[int] = frozenset()
    share: float = SHARE

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, *, share: float = SHARE, whole_words: bool = False
    ) -> Masking:
        """For the texts of a tokenizer. Raises ConfigError where it has no mask token, or `share`
        is no share."""
        mask = tokenizer.special.mask
        if mask is None:
            raise ConfigError(
                "masked language modelling needs a token that hides others",
                field="mask_token",
                expected="a tokenizer with a mask_token, as WordPiece's [MASK]",
            )
        if not 0 < share <= 1:
            raise ConfigError(
                "no share of the tokens", field="share", got=share, expected="above 0, at most 1"
            )
        id = tokenizer.id(mask)
        assert id is not None, "the tokenizer was built with its control tokens"
        inside = continuations(tokenizer) if whole_words else frozenset[int]()
        return cls(id, tokenizer.vocabulary, tokenizer.control_ids, inside, share)

    @cached_property
    def ordinary(self) -> Integers:
        """The ids that are no control token."""
        return np.array([id for id in range(self.vocabulary) if id not in self.control])

    @cached_property
    def tables(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """For each id, whether it may be hidden, and whether it continues a word."""
        ids = np.arange(self.vocabulary)
        return np.isin(ids, self.ordinary), np.isin(ids, list(self.inside))


def example(
    ids: Sequence[int],
    masking: Masking,
    *,
    seed: int,
    epoch: int,
    row: int | str,
    weight: float = 1.0,
    name: str = "",
) -> Example:
    """A row with masks in it, and what stood in their places. At least one token is hidden, unless
    all are control tokens, and at most the share, rounded."""
    drawn = numbers(seed, epoch, row)
    tokens = np.asarray(ids, dtype=np.int64)
    hidden = _chosen(tokens, masking, drawn)
    labels = tokens[hidden]
    fate = drawn.random(len(hidden))
    others = masking.ordinary[(drawn.random(len(hidden)) * len(masking.ordinary)).astype(int)]
    tokens[hidden] = np.where(
        fate < MASK, masking.mask, np.where(fate < MASK + OTHER, others, labels)
    )
    read, at, wanted = (tuple(x.tolist()) for x in (tokens, hidden, labels))
    return Example(read, at, wanted, weight, name, lead=len(read))


def _chosen(tokens: Integers, masking: Masking, drawn: np.random.Generator) -> Integers:
    """The places to be predicted, in order: words in random order, as long as they fit."""
    may_hide, continues = (table[tokens] for table in masking.tables)
    places = np.flatnonzero(may_hide)
    if not len(places):
        return places
    count = max(1, round(masking.share * len(places)))
    behind = np.diff(places, prepend=-2) == 1
    word = np.cumsum(~(continues[places] & behind)) - 1
    sizes = np.bincount(word).tolist()
    taken: list[int] = []
    used = 0
    for one in np.argsort(drawn.random(len(sizes)), kind="stable").tolist():
        if not taken or used + sizes[one] <= count:
            taken.append(one)
            used += sizes[one]
        if used >= count:
            break
    return places[np.isin(word, taken)]
