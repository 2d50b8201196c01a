"""95% intervals of the difference of two systems on the same rows.

    0/1 scores                the two Wilson intervals and their correlation (Newcombe)
    other means in 0..1       the wider, on each side, of that and Student's t with ties allowed for
    corpus ratios             studentized bootstrap of the difference

Knows nothing of metrics, models or files.
"""

from __future__ import annotations

import math

import numpy as np

from tutelage.evaluate.intervals import (
    Aggregate,
    Limits,
    bootstrap_t,
    bootstraps,
    pseudo_values,
    standard_error,
    student,
    wilson,
)
from tutelage.score._metric import mean


def difference_interval(
    a: np.ndarray,
    b: np.ndarray,
    aggregate: Aggregate,
    seed: int,
    limits: Limits | None = (0.0, 1.0),
) -> Limits:
    """Of `aggregate(sum a) - aggregate(sum b)` for paired units [n, k] of quantities in `limits`.

    Outside 0..1 (correlations, error rates) the bootstrap, else Student's t with ties allowed for.
    """
    if len(a) < 2:
        width = math.inf if limits is None else limits[1] - limits[0]
        return -width, width
    if aggregate is not mean and bootstraps(a) and not np.array_equal(a, b):
        columns = a.shape[1]

        def gap(sums: np.ndarray) -> np.ndarray:
            return aggregate(sums[..., :columns]) - aggregate(sums[..., columns:])

        if (found := bootstrap_t(np.hstack([a, b]), gap, seed)) is not None:
            return found
    values_a, values_b = pseudo_values(a, aggregate), pseudo_values(b, aggregate)
    if limits != (0.0, 1.0):
        difference = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))
        return student(difference, _tied_error(values_a - values_b), len(a))
    low, high = _square_and_add(a, b, aggregate, values_a, values_b)
    gaps = values_a - values_b
    if _yes_or_no(values_a) and _yes_or_no(values_b) and gaps.any():
        return low, high
    difference = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))
    tied_low, tied_high = student(difference, _tied_error(gaps), len(a))
    return min(low, tied_low), max(high, tied_high)


def _square_and_add(
    a: np.ndarray, b: np.ndarray, aggregate: Aggregate, values_a: np.ndarray, values_b: np.ndarray
) -> Limits:
    """The interval of a difference from the two Wilson intervals and the correlation r.

        low = d - sqrt(x^2 - 2 r x y + y^2),  x = a - low_a, y = high_b - b; high likewise

    Newcombe 1998, method 10; for other quantities Zou and Donner 2008.
    """
    error_a, error_b = standard_error(values_a), standard_error(values_b)
    mean_a, mean_b = float(aggregate(a.sum(axis=0))), float(aggregate(b.sum(axis=0)))
    low_a, high_a = wilson(mean_a, error_a, len(a))
    low_b, high_b = wilson(mean_b, error_b, len(b))
    r = 0.0
    if error_a > 0 and error_b > 0:
        covariance = float(np.cov(values_a, values_b)[0, 1]) / len(a)
        r = max(-1.0, min(1.0, covariance / (error_a * error_b)))

    def join(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * r * x * y + y * y))

    difference = mean_a - mean_b
    below = join(mean_a - low_a, high_b - mean_b)
    above = join(high_a - mean_a, mean_b - low_b)
    return difference - below, difference + above


def _yes_or_no(values: np.ndarray) -> bool:
    return bool(((np.abs(values) < 1e-9) | (np.abs(values - 1) < 1e-9)).all())


def _tied_error(gaps: np.ndarray) -> float:
    """Standard error of the mean of paired differences, allowing for differences not yet seen.

    Where most rows are ties, the few that differ say too little of the spread: two rows of the
    typical size and opposite sign are added, each with the weight of the share of ties. (For 0/1
    rows this is Agresti and Min's 2005 adjustment.)
    """
    count = len(gaps)
    differs = np.abs(gaps) > 1e-9
    ties = 1 - differs.mean()
    typical = float((gaps**2).sum() / differs.sum()) if differs.any() else 1.0
    squares = float(((gaps - gaps.mean()) ** 2).sum()) + 2 * ties * typical
    return math.sqrt(squares / (count - 1 + 2 * ties) / (count + 2 * ties))
