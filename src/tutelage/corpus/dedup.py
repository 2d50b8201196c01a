"""Duplicates: the same text, and nearly the same text. The first that comes is kept.

Exact: equal but for case, white space and punctuation around words. Near: the sets of runs of five
words have a Jaccard similarity of at least 0.8,

    J(A, B) = |A & B| / |A | B|

Candidates come from MinHash signatures in bands (Broder 1997; Leskovec et al., Mining of Massive
Datasets, chapter 3): with b bands of r values each, a pair of similarity s shares a whole band with
probability 1 - (1 - s^r)^b. Bands are chosen so that at the threshold this is at least 0.995. Each
candidate's similarity is then computed exactly, so nothing is removed on an estimate: only a missed
candidate can be an error. A text is compared with kept texts alone, so a chain of small changes
does not remove texts that differ from all that remain.

Memory grows with the number of documents, not with their length: about 100 bytes each for exact
duplicates, and about 1.6 kB each for near ones. Their runs of words wait on disk, 8 bytes each.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import weakref
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.corpus.documents import Document
from tutelage.corpus.extras import needed
from tutelage.data.contamination import same
from tutelage.data.near_duplicates import shingles
from tutelage.errors import ConfigError

WORDS = 5
"""In a run; as Lee et al. 2022 (arXiv:2107.06499) and FineWeb (arXiv:2406.17557) have it."""
THRESHOLD = 0.8
LEAST_THRESHOLD = 0.5
RECALL = 0.995
"""The least probability with which a pair at the threshold becomes a candidate."""
MOST_BANDS, MOST_PERMUTATIONS = 20, 128
"""What memory and time allow."""
SEED = 1


class Exact:
    """A step that leaves out documents whose text came before, but for case, white space and
    punctuation around words. Two texts are taken for the same with probability 2^-64 if not."""

    name = "exact duplicates"

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __call__(self, document: Document) -> Document | str:
        digest = hashlib.blake2b(same(document.text).encode(), digest_size=8).digest()
        if digest in self._seen:
            return "exact-duplicate"
        self._seen.add(digest)
        return document


class Near:
    """A step that leaves out documents which nearly repeat an earlier one.

    Needs rensa, which the `corpus` extra installs: raises ConfigError where it is not.
    """

    name = "near duplicates"

    def __init__(
        self, threshold: float = THRESHOLD, words: int = WORDS, folder: Path | None = None
    ) -> None:
        """`folder` holds the runs of words of all kept documents, in a file without a name."""
        self.threshold, self.words = threshold, words
        self._rensa = needed("rensa", "corpus", "near-duplicates")
        rows, bands = bands_for(threshold)
        self._permutations = rows * bands
        self._index = self._rensa.RMinHashLSH(threshold, self._permutations, bands)
        self._kept = _Spool(folder)

    def __call__(self, document: Document) -> Document | str:
        runs = shingles(document.text, self.words)
        signature = self._rensa.RMinHash(self._permutations, SEED)
        signature.update(sorted(runs))
        hashes = _hashes(runs)
        for other in sorted(self._index.query(signature)):
            if similarity(hashes, self._kept[other]) >= self.threshold - 1e-9:
                return "near-duplicate"
        self._index.insert(self._kept.add(hashes), signature)
        return document


def bands_for(threshold: float) -> tuple[int, int]:
    """Rows of a band and bands: the longest bands (the fewest false candidates) of which no more
    than the limits are needed for RECALL. Raises ConfigError for a threshold below 0.5, where
    almost everything would become a candidate."""
    for rows in range(MOST_PERMUTATIONS, 0, -1):
        shared = threshold**rows
        missed = math.log1p(-shared) if shared < 1 else -math.inf
        bands = max(1, math.ceil(math.log(1 - RECALL) / missed)) if missed else math.inf
        fits = bands <= MOST_BANDS and rows * bands <= MOST_PERMUTATIONS
        if fits and LEAST_THRESHOLD <= threshold <= 1:
            return rows, int(bands)
    raise ConfigError(
        "near-duplicates cannot be found at this threshold",
        field="--threshold",
        got=threshold,
        expected=f"{LEAST_THRESHOLD} to 1",
    )


def caught(similarity: float, rows: int, bands: int) -> float:
    """The probability that a pair of this similarity shares a band."""
    return float(1 - (1 - similarity**rows) ** bands)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """The Jaccard similarity of two sets, each a sorted array."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def _hashes(runs: Iterable[str]) -> np.ndarray:
    """64-bit hashes of a set, sorted."""
    digests = b"".join(hashlib.blake2b(run.encode(), digest_size=8).digest() for run in runs)
    return np.unique(np.frombuffer(digests, dtype="<u8"))


class _Spool:
    """Arrays on disk, by their number."""

    def __init__(self, folder: Path | None) -> None:
        self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])

    def add(self, values: np.ndarray) -> int:
        self._file.seek(self._ends[-1])
        self._file.write(values.tobytes())
        self._ends.append(self._ends[-1] + values.nbytes)
        return len(self._ends) - 2

    def __getitem__(self, number: int) -> np.ndarray:
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), dtype="<u8")
