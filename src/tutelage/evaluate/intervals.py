"""95% intervals from row statistics, chosen by what really covers (docs/measuring.md).

A *unit* is a row, or a cluster of rows with one source, already summed. `totals = units.sum(0)` and
`value = aggregate(totals)`. Knows nothing of metrics, models or files.

    wilson        means of scores in 0..1: Wilson's interval at the effective number of rows
    bootstrap_t   corpus ratios and anything unbounded: studentized bootstrap
    student       few units, and differences: jackknife standard error and Student's t
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

Aggregate = Callable[[np.ndarray], np.ndarray]
Limits = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 2000
FEWEST_FOR_BOOTSTRAP = 10
"""Units below which resamples are too alike to learn a distribution from."""
WIDEST_FOR_BOOTSTRAP = 60
"""Columns above which gradients cost more than they are worth: 20 labels of macro F1."""
CHUNK = 4_000_000
"""Numbers held at once while resampling."""


def pseudo_values(units: np.ndarray, aggregate: Aggregate) -> np.ndarray:
    """Jackknife pseudo-values `n v - (n-1) v_without_i`, one a unit [n].

    For a mean these are the rows' own values. Their standard error is the jackknife's.
    """
    count, totals = len(units), units.sum(axis=0)
    without = aggregate(totals - units)
    return count * aggregate(totals) - (count - 1) * without


def standard_error(values: np.ndarray) -> float:
    """Of the mean of `values` [n]; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    spread = float(values.std(ddof=1)) / math.sqrt(len(values))
    return spread if spread > 1e-12 else 0.0


def wilson(value: float, error: float, units: int) -> Limits:
    """Wilson's score interval of a mean in 0..1 with standard error `error`.

        (v - m)^2 = t^2 m (1 - m) / e   solved for m,   e = v (1 - v) / error^2

    e is the number of yes-or-no rows that would have this error: n - 1 for 0/1 scores, more for
    graded ones, fewer for clusters. Without spread, e = n, the worst case. Wilson 1927; the
    effective number as Kott and Carr 1997 use it for surveys.
    """
    if units < 2:
        return 0.0, 1.0
    variance = value * (1 - value)
    rows = variance / error**2 if error > 0 and variance > 0 else units
    ratio = student_quantile(units - 1) ** 2 / rows
    centre = (value + ratio / 2) / (1 + ratio)
    half = math.sqrt(variance * ratio + ratio**2 / 4) / (1 + ratio)
    return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))


def student(value: float, error: float, units: int) -> Limits:
    """`value` +- t * `error`."""
    half = student_quantile(units - 1) * error
    return value - half, value + half


def bootstrap_t(units: np.ndarray, aggregate: Aggregate, seed: int) -> Limits | None:
    """Studentized bootstrap: the quantiles of (v* - v) / e* over resamples, times e.

    e is the jackknife's standard error, e* the infinitesimal jackknife's of each resample:
    e*^2 = n/(n-1) sum w_i L_i^2 with L_i = gradient of the aggregate at the resample . unit i.
    Efron and Tibshirani 1993, chapter 12. None where the data cannot carry it: no spread, or so few
    rows that matter that 2.5% of the resamples miss them all and have none.
    """
    value = float(aggregate(units.sum(axis=0)))
    error = standard_error(pseudo_values(units, aggregate))
    roots = np.concatenate([_roots(units, w, aggregate, value) for w in draws(len(units), seed)])
    roots = roots[np.isfinite(roots)]
    if error == 0 or len(roots) < RESAMPLES * (1 + LEVEL) / 2:
        return None
    low, high = np.quantile(roots, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value - max(0.0, float(high)) * error, value - min(0.0, float(low)) * error


def bootstraps(units: np.ndarray) -> bool:
    """Whether `bootstrap_t` is the interval for units [n, k] of this shape."""
    return len(units) >= FEWEST_FOR_BOOTSTRAP and units.shape[1] <= WIDEST_FOR_BOOTSTRAP


def _roots(
    units: np.ndarray, weights: np.ndarray, aggregate: Aggregate, value: float
) -> np.ndarray:
    """(v* - v) / e* of each resample [b]; NaN where e* is 0."""
    count = len(units)
    resampled = weights @ units
    influence = _gradient(aggregate, resampled, weights @ np.abs(units)) @ units.T
    influence -= (weights * influence).sum(axis=1, keepdims=True) / count
    errors = np.sqrt((weights * influence**2).sum(axis=1) * count / (count - 1))
    errors = np.where(errors > 1e-12, errors, np.nan)
    return (aggregate(resampled) - value) / errors


def _gradient(aggregate: Aggregate, sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Central differences of `aggregate` at `sums` [b, k]; steps are relative, so that a column
    whose every entry is 0 keeps the gradient 0 and no kink at 0 is crossed."""
    steps = 1e-4 * scale
    gradient = np.zeros_like(sums)
    for column in range(sums.shape[1]):
        step = np.zeros_like(sums)
        step[:, column] = steps[:, column]
        rise = aggregate(sums + step) - aggregate(sums - step)
        moved = steps[:, column] > 0
        gradient[moved, column] = rise[moved] / (2 * steps[moved, column])
    return gradient


def draws(count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each unit is drawn, RESAMPLES resamples in chunks [b, n]."""
    chunk = max(1, CHUNK // count)
    for start in range(0, RESAMPLES, chunk):
        yield _drawn(count, seed, start, min(chunk, RESAMPLES - start))


@functools.lru_cache(maxsize=2)
def _drawn(count: int, seed: int, start: int, size: int) -> np.ndarray:
    """Kept for the next metric, which has as many rows."""
    generator = np.random.default_rng([seed, count, start])
    return generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float)


@functools.cache
def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """The two-sided quantile t with P(|T| <= t) = level, for whole degrees of freedom.

    Bisection on the closed form of the distribution, Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    low, high = 0.0, 1.0
    while _student_within(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def _student_within(quantile: float, freedom: int) -> float:
    """P(|T| <= quantile) for `freedom` degrees."""
    angle = math.atan(quantile / math.sqrt(freedom))
    cosine_squared = math.cos(angle) ** 2
    odd = freedom % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine_squared * (step - 1) / step
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
