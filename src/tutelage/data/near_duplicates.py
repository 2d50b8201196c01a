"""Texts that say nearly the same: exact search by the overlap of their word shingles.

Two texts are near-duplicates where the Jaccard similarity of their sets of shingles (runs of
`shingle` words, white space, case and punctuation aside) reaches the threshold:

    J(A, B) = |A & B| / |A | B| >= t

Found without missing any by prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): with
shingles ordered from rare to frequent, two such sets share one among the first
|A| - ceil(t |A|) + 1 of each. Knows texts alone; `contamination` compares two sets of rows.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.data.rows import Row

SHINGLE = 3
_WORD = re.compile(r"\w+")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Removed:
    """A row left out, the earlier row it nearly repeats, and their similarity."""

    id: str
    kept_id: str
    similarity: float


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def plain(text: str) -> str:
    """The words of a text joined by single spaces: the form in which texts are compared."""
    return " ".join(words(text))


def shingles(text: str, size: int = SHINGLE) -> frozenset[str]:
    """All runs of `size` words; the whole text where it has fewer."""
    found = words(text)
    if not found:
        return frozenset({_SPACES.sub(" ", text).strip()})
    last = max(len(found) - size, 0)
    return frozenset(" ".join(found[n : n + size]) for n in range(last + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|A & B| / |A | B|."""
    return len(a & b) / len(a | b)


def first_likes(texts: Sequence[str], threshold: float = 0.8) -> list[tuple[int, float] | None]:
    """For each text the first earlier *kept* text it nearly repeats, and how much; None if kept.

    A text compared with is one that was itself kept, so a chain of small changes does not remove
    texts that differ from all that remain.
    """
    sets = [shingles(text) for text in texts]
    frequency = Counter(one for found in sets for one in found)
    order = {one: n for n, one in enumerate(sorted(frequency, key=frequency.__getitem__))}
    index: dict[str, list[int]] = {}
    result: list[tuple[int, float] | None] = []
    for number, found in enumerate(sets):
        prefix = sorted(found, key=order.__getitem__)
        prefix = prefix[: len(found) - math.ceil(threshold * len(found) - 1e-9) + 1]
        near = {other for one in prefix for other in index.get(one, ())}
        like = _first_over(found, sets, sorted(near), threshold)
        result.append(like)
        if like is None:
            for one in prefix:
                index.setdefault(one, []).append(number)
    return result


def remove(
    rows: Sequence[Row], threshold: float = 0.8
) -> tuple[tuple[Row, ...], tuple[Removed, ...]]:
    """The rows without those that nearly repeat an earlier one, prompt and completion together."""
    likes = first_likes([row_text(row) for row in rows], threshold)
    kept, removed = [], []
    for row, like in zip(rows, likes, strict=True):
        if like is None:
            kept.append(row)
        else:
            removed.append(Removed(row.id, rows[like[0]].id, like[1]))
    return tuple(kept), tuple(removed)


def row_text(row: Row) -> str:
    """All the text of a row: turns, completion, and what its shape has beyond."""
    parts = [turn.content for turn in row.messages]
    parts += [text for text in (row.completion, row.text) if text is not None]
    for key in ("tokens", "chosen", "rejected", "completions"):
        value = row.extra.get(key, ())
        parts += [value] if isinstance(value, str) else list(value)
    return "\n".join(parts)


def _first_over(
    found: frozenset[str],
    sets: Sequence[frozenset[str]],
    candidates: Sequence[int],
    threshold: float,
) -> tuple[int, float] | None:
    for other in candidates:
        small, large = sorted((len(found), len(sets[other])))
        if small >= threshold * large - 1e-9:
            similarity = jaccard(found, sets[other])
            if similarity >= threshold - 1e-9:
                return other, similarity
    return None
