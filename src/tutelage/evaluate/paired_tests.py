"""p-values of two systems on the same rows, two-sided: how often would chance part them this far?

    randomization   swap the two answers of random rows (`randomization.py`): the default
    bootstrap       draw rows again, and centre: |d* - d| >= |d|
    mcnemar         right-or-wrong rows alone: a binomial of the rows where only one was right

With b rows only the first got right and c only the second, k = min(b, c) and X binomial of b + c
and 1/2, McNemar's test (1947) is

    exact    p = min(1, 2 P(X <= k))              Edwards 1948: never more than 5%, mostly 3%
    mid-p    p = 2 P(X < k) + P(X = k)            Fagerland, Lydersen and Laake 2013: about 5%

`mcnemar` is the exact one. The mid-p is what the randomization test is of such rows, where all
swaps can be counted instead of drawn. The bootstrap test is Efron and Tibshirani 1993, section
16.4, with the 1 that counts the data as observed. Given units that are clusters, both resampling
tests keep them whole; McNemar's needs single rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tutelage.errors import RequestError, UnknownName
from tutelage.evaluate import randomization
from tutelage.evaluate.intervals import Aggregate, draws
from tutelage.score._metric import mean

TESTS = {
    "randomization": "paired randomization, two-sided, mid-p",
    "bootstrap": "paired bootstrap, two-sided",
    "mcnemar": "McNemar, exact, two-sided",
}


def p_value(
    a: np.ndarray, b: np.ndarray, aggregate: Aggregate, seed: int, test: str = "randomization"
) -> float:
    """Of paired units [n, k]. Raises UnknownName for a test, RequestError where it does not fit."""
    if test not in TESTS:
        raise UnknownName("test", test, TESTS, field="--test")
    tests: dict[str, Callable[[], float]] = {
        "randomization": lambda: randomized(a, b, aggregate, seed),
        "bootstrap": lambda: bootstrap(a, b, aggregate, seed),
        "mcnemar": lambda: mcnemar(a, b),
    }
    return tests[test]()


def randomized(a: np.ndarray, b: np.ndarray, aggregate: Aggregate, seed: int) -> float:
    """Of all swaps where they can be counted, of drawn ones elsewhere."""
    if aggregate is mean and _right_or_wrong(a) and _right_or_wrong(b):
        return mcnemar(a, b, mid_p=True)
    return randomization.p_value(a, b, aggregate, seed)


def bootstrap(a: np.ndarray, b: np.ndarray, aggregate: Aggregate, seed: int) -> float:
    """Share of resamples whose difference is as far from the observed one as that is from 0."""
    observed = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))
    extreme = tried = 0
    for weights in draws(len(a), seed):
        gaps = aggregate(weights @ a) - aggregate(weights @ b)
        extreme += int((np.abs(gaps - observed) >= abs(observed) - 1e-12).sum())
        tried += len(weights)
    return (1 + extreme) / (1 + tried)


def mcnemar(a: np.ndarray, b: np.ndarray, *, mid_p: bool = False) -> float:
    """Of rows (right, 1) [n, 2]. Raises RequestError for graded or joined rows."""
    if not (_right_or_wrong(a) and _right_or_wrong(b)):
        raise RequestError(
            "McNemar's test is of rows that are right or wrong, one by one",
            field="--test",
            got="graded scores, or rows of one source joined",
            expected="randomization or bootstrap",
        )
    first = int((a[:, 0] > b[:, 0]).sum())
    second = int((a[:, 0] < b[:, 0]).sum())
    count, least = first + second, min(first, second)
    ways = [1]  # of k among all, for k = 0 .. least, over 2^count in whole numbers
    for k in range(least):
        ways.append(ways[-1] * (count - k) // (k + 1))
    tail = 2 * sum(ways) - (ways[-1] if mid_p else 0)
    return min(1.0, tail / 2**count)


def _right_or_wrong(units: np.ndarray) -> bool:
    """Whether units are single rows (right, 1)."""
    return units.shape[1] == 2 and bool((np.isin(units[:, 0], (0, 1)) & (units[:, 1] == 1)).all())
