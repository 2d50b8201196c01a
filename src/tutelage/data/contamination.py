"""Test rows that the training rows give away.

A test row counts as contaminated where a training row is, prompt and completion together,
    exact    the same text but for case, white space and punctuation around words
    near     a near-duplicate: Jaccard similarity of word shingles at least 0.8
    n-gram   the bearer of the same run of 13 words (Brown et al. 2020, appendix C)

What many training rows share, as an instruction before each, is no evidence: wording found in more
than ten training rows is left out of the comparison (as there), and where there are few training
rows that found in more than a tenth of them. Only the test rows are held in memory.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.data.near_duplicates import row_text, shingles, words
from tutelage.data.rows import Row

NEAR = 0.8
LONG = 13
SHARED = 6
"""Wording counts as common in runs of this many words, so that a common instruction followed by
few equal words is not taken for an equal text."""
COMMON_ABOVE = 10
FEWEST_SHINGLES = 5
"""Near-duplicates with fewer telling shingles than this are too short to judge."""

Kind = Literal["exact", "near", "n-gram"]
_EDGES = re.compile(r"^\W+(?=.*\w)|(?<=\w)\W+$")


@dataclass(frozen=True)
class Pair:
    """A test row and the first training row that gives it away, by the strictest kind."""

    test_id: str
    train_id: str
    kind: Kind
    similarity: float
    """1 for exact, the Jaccard similarity for near, the share of n-grams found for n-gram."""


@dataclass(frozen=True)
class Contamination:
    """`n` test rows were looked at; `pairs` holds one pair for each contaminated one, in order."""

    n: int
    pairs: tuple[Pair, ...]

    @property
    def ids(self) -> dict[str, str]:
        """Contaminated test id -> training id."""
        return {pair.test_id: pair.train_id for pair in self.pairs}

    def counts(self) -> dict[str, int]:
        return dict(Counter(pair.kind for pair in self.pairs))


def overlap(train: Sequence[Row], test: Sequence[Row]) -> Contamination:
    """The test rows that training rows give away."""
    found: dict[int, Pair] = {}
    for search in (_exact, _near, _long):
        for number, pair in search(train, test).items():
            found.setdefault(number, pair)
    return Contamination(len(test), tuple(found[number] for number in sorted(found)))


def same_text(row: Row) -> str:
    """The form in which rows are compared for exact matches."""
    return same(row_text(row))


def same(text: str) -> str:
    """The form in which exact matches are compared; operators and symbols count."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_EDGES.sub("", word) for word in text.split())


def _exact(train: Sequence[Row], test: Sequence[Row]) -> dict[int, Pair]:
    wanted: dict[str, list[int]] = {}
    for number, row in enumerate(test):
        wanted.setdefault(same_text(row), []).append(number)
    found: dict[int, Pair] = {}
    for row in train:
        for number in wanted.get(same_text(row), ()):
            found.setdefault(number, Pair(test[number].id, row.id, "exact", 1.0))
    return found


def _near(train: Sequence[Row], test: Sequence[Row]) -> dict[int, Pair]:
    sets = [shingles(row_text(row)) for row in test]
    bearers, common = _index(train, sets, lambda row: shingles(row_text(row)))
    telling = [found - common for found in sets]
    best: dict[int, Pair] = {}
    for row in train:
        own = shingles(row_text(row)) - common
        shared = Counter(number for one in own for number in bearers.get(one, ()))
        for number, count in shared.items():
            if min(len(telling[number]), len(own)) < FEWEST_SHINGLES:
                continue
            similarity = count / (len(telling[number]) + len(own) - count)
            known = best.get(number)
            if similarity >= NEAR and (known is None or similarity > known.similarity):
                best[number] = Pair(test[number].id, row.id, "near", similarity)
    return best


def _long(train: Sequence[Row], test: Sequence[Row]) -> dict[int, Pair]:
    """Runs of 13 words of test rows, none of them reaching into wording that many rows share."""
    texts = [words(row_text(row)) for row in test]
    _, common = _index(
        train, [runs(text, SHARED) for text in texts], lambda row: _row_runs(row, SHARED)
    )
    sets = [own_runs(text, common) for text in texts]
    bearers, _ = _index((), sets, lambda row: frozenset())
    best: dict[int, Pair] = {}
    for row in train:
        shared = Counter(number for one in _row_runs(row, LONG) for number in bearers.get(one, ()))
        for number, count in shared.items():
            share = count / len(sets[number])
            known = best.get(number)
            if known is None or share > known.similarity:
                best[number] = Pair(test[number].id, row.id, "n-gram", share)
    return best


def own_runs(text: Sequence[str], common: frozenset[str], size: int = LONG) -> frozenset[str]:
    """The runs of `size` words without a word that belongs to common wording."""
    masked = [False] * len(text)
    for start in range(len(text) - SHARED + 1):
        if " ".join(text[start : start + SHARED]) in common:
            masked[start : start + SHARED] = [True] * SHARED
    starts = range(len(text) - size + 1)
    return frozenset(" ".join(text[n : n + size]) for n in starts if not any(masked[n : n + size]))


def _index(
    train: Sequence[Row],
    sets: Sequence[frozenset[str]],
    pieces: Callable[[Row], frozenset[str]],
) -> tuple[Mapping[str, list[int]], frozenset[str]]:
    """Which test rows bear each piece of text, and which pieces too many training rows share."""
    bearers: dict[str, list[int]] = {}
    for number, found in enumerate(sets):
        for one in found:
            bearers.setdefault(one, []).append(number)
    seen = Counter(one for row in train for one in pieces(row) if one in bearers)
    most = min(COMMON_ABOVE, max(1, len(train) // 10))
    common = frozenset(one for one, count in seen.items() if count > most)
    return bearers, common


def _row_runs(row: Row, size: int) -> frozenset[str]:
    return runs(words(row_text(row)), size)


def runs(text: Sequence[str], size: int) -> frozenset[str]:
    """All runs of `size` words; none where there are fewer."""
    return frozenset(" ".join(text[n : n + size]) for n in range(len(text) - size + 1))
