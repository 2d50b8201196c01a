"""What a metric is: a statistic of each row, and a value of their sums.

    value = aggregate(sum over rows of statistics(reference, answer))

A mean has the row statistic (score, 1) and the aggregate sum/count; corpus metrics keep the counts
they are ratios of. Because only sums enter, one interval and one test serve all of them. Knows
nothing of intervals, files or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Statistics = Callable[[Sequence[str], Sequence[str]], np.ndarray]
Aggregate = Callable[[np.ndarray], np.ndarray]


Reads = Literal["text", "numbers", "tags", "refusals", "yes"]


@dataclass(frozen=True)
class Metric:
    """A quality in 0..1 where `limits` say nothing else, higher is better unless `errors`.

    `reads` is what references and answers hold: any text, one number, tags divided by spaces,
    references that say whether to refuse, or yes and other labels.
    `needs` names what has to be handed in before it can be computed, as an encoder.
    """

    name: str
    statistics: Statistics
    """References, answers -> [n, k] floats, one row of k columns for each pair."""
    aggregate: Aggregate
    """Sums of rows [..., k] -> values [...]; any leading axes, so resamples go through at once."""
    limits: tuple[float, float] | None = (0.0, 1.0)
    """The values it can take; None is unbounded."""
    errors: bool = False
    """Counts errors: lower is better."""
    reads: Reads = "text"
    needs: str | None = None


def mean(sums: np.ndarray) -> np.ndarray:
    """Aggregate of a mean: sums of (value, weight) -> weighted mean, 0 where the weight is 0."""
    return divide(sums[..., 0], sums[..., 1])


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator`, and 0 where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, 0.0, numerator / safe)


def mean_of(name: str, score: Callable[[str, str], float]) -> Metric:
    """The metric that is the mean of `score(reference, answer)` over the rows."""

    def statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        values = [score(r, a) for r, a in zip(references, answers, strict=True)]
        return np.column_stack([np.asarray(values, dtype=float), np.ones(len(values))])

    return Metric(name, statistics, mean)
