"""What a corpus holds, in one pass: sizes, lengths, repeats, personal data.

Quantiles come from a sample of fixed size, drawn by a hash of each text, so the same corpus gives
the same numbers in any order.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import Any

from tutelage.corpus.dedup import Exact
from tutelage.corpus.documents import Document

SAMPLE = 4096
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Inspection:
    """Add every document, then read `as_json`."""

    def __init__(self) -> None:
        self.documents = self.characters = self.bytes = self.words = self.repeats = 0
        self._exact = Exact()
        self._sample: list[tuple[int, int, int]] = []
        self._shortest: int | None = None
        self._longest = 0

    def add(self, document: Document) -> None:
        length = len(document.words)
        self.documents += 1
        self.characters += len(document.text)
        self.bytes += len(document.text.encode("utf-8"))
        self.words += length
        self.repeats += isinstance(self._exact(document), str)
        self._shortest = length if self._shortest is None else min(self._shortest, length)
        self._longest = max(self._longest, length)
        digest = hashlib.blake2b(document.text.encode("utf-8"), digest_size=8).digest()
        entry = (-int.from_bytes(digest), self.documents, length)
        if len(self._sample) < SAMPLE:
            heapq.heappush(self._sample, entry)
        else:
            heapq.heappushpop(self._sample, entry)

    def as_json(self) -> dict[str, Any]:
        """Totals, quantiles of the words of a document, and how many repeat an earlier one."""
        lengths = sorted(length for _, _, length in self._sample)
        words = {f"{q:g}": lengths[round(q * (len(lengths) - 1))] for q in QUANTILES if lengths}
        if lengths:
            words |= {"0": self._shortest or 0, "1": self._longest}
        return {
            "characters": self.characters,
            "bytes": self.bytes,
            "words": self.words,
            "words_per_document": words,
            "exact_duplicates": self.repeats,
        }
