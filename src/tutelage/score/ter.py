"""Translation edit rate of a corpus: edits, shifts of phrases among them, by reference words.

    TER = sum of edits / sum of reference words         0 is perfect, above 1 is possible

Snover et al. 2006, as sacrebleu counts it with its defaults (case folded, punctuation kept).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.score._metric import Metric


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns: edits, words of the reference."""
    rows = np.zeros((len(references), 2))
    for row, reference, answer in zip(rows, references, answers, strict=True):
        found = _sacrebleu().corpus_score([answer], [[reference]])
        row[:] = [found.num_edits, found.ref_length]
    return rows


def _aggregate(sums: np.ndarray) -> np.ndarray:
    """As sacrebleu: edits without any reference word count 1, nothing at all 0."""
    edits, words = sums[..., 0], sums[..., 1]
    known = words > 0
    return np.where(known, edits / np.where(known, words, 1.0), (edits > 0).astype(float))


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics import TER

    return TER()


METRIC = Metric("ter", _statistics, _aggregate, limits=None, errors=True)
