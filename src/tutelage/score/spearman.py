"""Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank.

Ranks are those among all rows; resamples for intervals keep them, which is an approximation of
ranking each anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.score._correlation import numbers, pearson, sums_of
from tutelage.score._metric import Metric


def ranks(values: np.ndarray) -> np.ndarray:
    """1 for the smallest; equal values share the mean of their places."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=float)


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    true, got = numbers(references, answers)
    return sums_of(ranks(true), ranks(got))


METRIC = Metric("spearman", _statistics, pearson, limits=(-1.0, 1.0), reads="numbers")
