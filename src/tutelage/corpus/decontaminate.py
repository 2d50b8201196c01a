"""Documents that give away items of an evaluation set.

A document is left out where it is, or holds,

    exact    an item's text, but for case, white space and punctuation around words
    near     a near-duplicate of one: Jaccard similarity of runs of three words at least 0.8
    n-gram   13 consecutive words of one (Brown et al. 2020, arXiv:2005.14165, appendix C), or the
             whole of an item of 8 to 12 words

What `data.contamination` asks of test rows is asked here of documents, of which there may be more
than memory holds; the items are held. Wording that stands in more than ten documents is common and
no evidence, as there; so near and exact duplicates are removed before. Items of fewer than 8 words
are found only as whole documents: `short` says how many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.corpus.documents import Document
from tutelage.data.contamination import (
    COMMON_ABOVE,
    FEWEST_SHINGLES,
    LONG,
    NEAR,
    SHARED,
    own_runs,
    runs,
    same,
)
from tutelage.data.near_duplicates import shingles, words

FEWEST_WORDS = 8
"""Of an item that is looked for inside of documents."""


@dataclass(frozen=True)
class Found:
    """An item, the first document that gives it away, and how."""

    item: str
    document: str
    kind: str


class Decontaminate:
    """A step that leaves out documents which give an item away; `found` names the items.

    Needs two passes: `count` all documents first, for what wording is common, then call it.
    """

    name = "contamination"

    def __init__(self, items: Sequence[Document]) -> None:
        self.found: dict[str, Found] = {}
        self._ids = [item.id for item in items]
        self._words = [words(item.text) for item in items]
        self.short = sum(len(found) < FEWEST_WORDS for found in self._words)
        """Items too short to be looked for inside of documents."""
        self._exact = {same(item.text): n for n, item in reversed(list(enumerate(items)))}
        self._shingles = [shingles(item.text) for item in items]
        self._near = _bearers(self._shingles)
        self._largest = max((len(found) for found in self._shingles), default=0) / NEAR
        self._wording = frozenset(run for found in self._words for run in runs(found, SHARED))
        self._seen: Counter[str] = Counter()
        self._documents = 0
        self._runs: Mapping[int, Mapping[str, list[int]]] | None = None

    def count(self, documents: Iterable[Document]) -> None:
        """Learn which wording is common."""
        for document in documents:
            self._documents += 1
            if self._wording:
                self._seen.update(runs(words(document.text), SHARED) & self._wording)
        self._runs = None

    def __call__(self, document: Document) -> Document | str:
        kind, numbers = self._given_away(document)
        for number in numbers:
            item = self._ids[number]
            self.found.setdefault(item, Found(item, document.id, kind))
        return f"contaminated-{kind}" if numbers else document

    def _given_away(self, document: Document) -> tuple[str, list[int]]:
        exact = self._exact.get(same(document.text))
        if exact is not None:
            return "exact", [exact]
        near = self._nearly(document.text)
        if near:
            return "near", near
        found = words(document.text)
        numbers: set[int] = set()
        for size, bearers in self._index.items():
            for run in runs(found, size):
                numbers.update(bearers.get(run, ()))
        return "n-gram", sorted(numbers)

    def _nearly(self, text: str) -> list[int]:
        if len(text) > self._largest * 200:
            return []  # far longer than any item, so its similarity to one is small
        own = shingles(text)
        shared = Counter(number for one in own for number in self._near.get(one, ()))
        return [
            number
            for number, count in shared.items()
            if min(len(own), len(self._shingles[number])) >= FEWEST_SHINGLES
            and count / (len(own) + len(self._shingles[number]) - count) >= NEAR
        ]

    @property
    def _index(self) -> Mapping[int, Mapping[str, list[int]]]:
        """Length of run -> run -> the items that bear it, without common wording."""
        if self._runs is None:
            most = min(COMMON_ABOVE, max(1, self._documents // 10))
            common = frozenset(run for run, count in self._seen.items() if count > most)
            pieces: dict[int, list[frozenset[str]]] = {
                size: [frozenset()] * len(self._words) for size in range(FEWEST_WORDS, LONG + 1)
            }
            for number, found in enumerate(self._words):
                size = min(len(found), LONG)
                if size >= FEWEST_WORDS:
                    pieces[size][number] = own_runs(found, common, size)
            indices = {size: _bearers(sets) for size, sets in pieces.items()}
            self._runs = {size: index for size, index in indices.items() if index}
        return self._runs


def _bearers(sets: Sequence[frozenset[str]]) -> dict[str, list[int]]:
    """Piece -> the numbers of the sets that have it."""
    found: dict[str, list[int]] = {}
    for number, pieces in enumerate(sets):
        for one in pieces:
            found.setdefault(one, []).append(number)
    return found
