"""From row statistics to measured values, comparisons and corrected p-values.

    measured(statistics, aggregate)            value, 95% interval, n
    compare(a, b, aggregate)                   difference, 95% interval, p, rows needed
    holm(p_values), benjamini_hochberg(...)    corrected for having looked several times

Rows that share a source are not independent: given `clusters`, sources are resampled instead of
rows. Everything is deterministic in `seed`. Why these intervals, and how well they cover, is in
docs/measuring.md. Knows nothing of models or files.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from tutelage.errors import RequestError
from tutelage.evaluate.differences import difference_interval
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
from tutelage.evaluate.paired_tests import TESTS, p_value
from tutelage.score._metric import mean

SIGNIFICANT = 0.05
POWER = 0.8

Verdict = Literal["better", "worse", "cannot tell"]


class Measured(TypedDict):
    """The contract's measured value; `low` and `high` are its 95% interval."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: NotRequired[str]
    """Why a number is missing."""


@dataclass(frozen=True)
class Comparison:
    """How much better `a` is than `b` on the same rows: `difference` is a minus b."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    n_needed: int | None
    """Rows that would show a difference of this size with 80% power; None where it is 0."""
    test: str = TESTS["randomization"]

    @property
    def verdict(self) -> Verdict:
        """Said only where test and interval agree: p < 0.05 and the interval excludes 0."""
        if self.p_value < SIGNIFICANT and self.low > 0:
            return "better"
        if self.p_value < SIGNIFICANT and self.high < 0:
            return "worse"
        return "cannot tell"

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, **asdict(self)}


def measured(
    statistics: np.ndarray,
    aggregate: Aggregate,
    seed: int = 0,
    *,
    clusters: Sequence[Hashable] | None = None,
    limits: Limits | None = (0.0, 1.0),
) -> Measured:
    """The value of row statistics [n, k] with its 95% interval.

    `limits` are the values the quantity can take, None for an unbounded one. Means within (0, 1)
    take Wilson's interval at the effective number of rows, all else the studentized bootstrap.
    Without rows the value is None; with a single unbounded one there is no interval.
    """
    statistics = _checked(statistics)
    count = len(statistics)
    if count == 0:
        return {"value": None, "low": None, "high": None, "n": 0, "reason": "no rows"}
    units = _by_cluster(statistics, clusters)
    value = float(aggregate(units.sum(axis=0)))
    if len(units) == 1 and limits is None:
        reason = "one row has no spread" if count == 1 else "one source has no spread"
        return {"value": value, "low": None, "high": None, "n": count, "reason": reason}
    low, high = _interval(units, aggregate, value, limits, seed)
    return {"value": value, "low": low, "high": high, "n": count}


def compare(
    a: np.ndarray,
    b: np.ndarray,
    aggregate: Aggregate,
    seed: int = 0,
    *,
    clusters: Sequence[Hashable] | None = None,
    limits: Limits | None = (0.0, 1.0),
    test: str = "randomization",
) -> Comparison:
    """Compare two systems by their statistics [n, k] of the same rows in the same order.

    `limits` are the values the quantity can take; `test` is one of `paired_tests.TESTS`. Raises
    RequestError if the shapes differ or there are no rows, UnknownName for a test.
    """
    a, b = _checked(a), _checked(b)
    if a.shape != b.shape or len(a) == 0:
        raise RequestError(
            "a comparison needs the same rows on both sides, and at least one",
            field="statistics",
            got=f"shapes {a.shape} and {b.shape}",
            expected="equal shapes with one or more rows",
        )
    units_a, units_b = _by_cluster(a, clusters), _by_cluster(b, clusters)
    difference = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))
    low, high = difference_interval(units_a, units_b, aggregate, seed, limits)
    width = math.inf if limits is None else limits[1] - limits[0]
    gaps = pseudo_values(units_a, aggregate) - pseudo_values(units_b, aggregate)
    return Comparison(
        difference=difference,
        low=max(-width, low),
        high=min(width, high),
        p_value=p_value(units_a, units_b, aggregate, seed, test),
        n=len(a),
        n_needed=n_needed(difference, standard_error(gaps) * math.sqrt(len(a))),
        test=TESTS[test],
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given.

        p_(i)  ->  max over j <= i of (m - j + 1) p_(j),   p_(1) <= ... <= p_(m)

    Keeps the chance of any false finding among the m at most that asked for (Holm 1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up correction, in the order given.

        p_(i)  ->  min over j >= i of m p_(j) / j,   p_(1) <= ... <= p_(m)

    Keeps the expected share of false ones among the findings at most that asked for, where tests
    are independent or positively dependent (1995). Weaker than Holm's: for many looks, as slices.
    """
    count = len(p_values)
    adjusted, least = [0.0] * count, 1.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: -p_values[i])):
        least = min(least, count * p_values[index] / (count - rank))
        adjusted[index] = least
    return adjusted


def n_needed(difference: float, spread: float, power: float = POWER) -> int | None:
    """Rows to tell a paired difference from 0 with this power at two-sided 5%.

        n = ((z_0.975 + z_power) * spread / difference)^2

    `spread` is the standard deviation of one row's difference. None if the difference is 0.
    """
    if difference == 0:
        return None
    quantiles = NormalDist().inv_cdf(1 - SIGNIFICANT / 2) + NormalDist().inv_cdf(power)
    return max(2, math.ceil((quantiles * spread / difference) ** 2))


def _checked(statistics: np.ndarray) -> np.ndarray:
    statistics = np.asarray(statistics, dtype=float)
    if statistics.ndim != 2 or not np.isfinite(statistics).all():
        raise RequestError(
            "row statistics must be finite numbers [rows, columns]",
            field="statistics",
            got=f"shape {statistics.shape}",
        )
    return statistics


def _by_cluster(statistics: np.ndarray, clusters: Sequence[Hashable] | None) -> np.ndarray:
    """Rows summed by cluster, in order of first appearance; the rows themselves without any."""
    if clusters is None:
        return statistics
    place: dict[Hashable, int] = {}
    index = [place.setdefault(cluster, len(place)) for cluster in clusters]
    if len(index) != len(statistics):
        raise RequestError(
            "one cluster a row", field="clusters", got=len(index), expected=len(statistics)
        )
    units = np.zeros((len(place), statistics.shape[1]))
    np.add.at(units, index, statistics)
    return units


def _interval(
    units: np.ndarray, aggregate: Aggregate, value: float, limits: Limits | None, seed: int
) -> Limits:
    error = standard_error(pseudo_values(units, aggregate)) if len(units) > 1 else 0.0
    bounded = limits == (0.0, 1.0)
    if bounded and (aggregate is mean or not bootstraps(units)):
        return wilson(value, error, len(units))
    found = bootstrap_t(units, aggregate, seed) if bootstraps(units) else None
    if found is None and bounded:
        return wilson(value, 0.0, len(units))  # as wide as that of so many yes-or-no rows
    low, high = found or student(value, error, len(units))
    return (low, high) if limits is None else (max(limits[0], low), min(limits[1], high))
