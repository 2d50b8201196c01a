"""p-values of two systems on the same rows, two-sided: how often would chance part them this far?

    randomization   swap the two answers of random rows (`randomization.py`): the default
    bootstrap       draw rows again, and centre: |d* - d| >= |d|
    mcnemar         right-or-wrong rows alone: a binomial of the rows where only one was right

McNemar's is exact (McNemar 1947; the exact form Edwards 1948): with b rows only the first got right
and c only the second, p = min(1, 2 P(X <= min(b, c))), X binomial of b + c and 1/2. The bootstrap
test is Efron and Tibshirani 1993, section 16.4, with the 1 that counts the data as observed. Given
units that are clusters, both resampling tests keep them whole; McNemar's needs single rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tutelage.errors import RequestError, UnknownName
from tutelage.evaluate import randomization
from tutelage.evaluate.intervals import Aggregate, draws

TESTS = {
    "randomization": "paired randomization, two-sided",
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
        "randomization": lambda: randomization.p_value(a, b, aggregate, seed),
        "bootstrap": lambda: bootstrap(a, b, aggregate, seed),
        "mcnemar": lambda: mcnemar(a, b),
    }
    return tests[test]()


def bootstrap(a: np.ndarray, b: np.ndarray, aggregate: Aggregate, seed: int) -> float:
    """Share of resamples whose difference is as far from the observed one as that is from 0."""
    observed = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))
    extreme = tried = 0
    for weights in draws(len(a), seed):
        gaps = aggregate(weights @ a) - aggregate(weights @ b)
        extreme += int((np.abs(gaps - observed) >= abs(observed) - 1e-12).sum())
        tried += len(weights)
    return (1 + extreme) / (1 + tried)


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Of rows (right, 1) [n, 2]. Raises RequestError for graded or joined rows."""
    for side in (a, b):
        if side.shape[1] != 2 or not (np.isin(side[:, 0], (0, 1)) & (side[:, 1] == 1)).all():
            raise RequestError(
                "McNemar's test is of rows that are right or wrong, one by one",
                field="--test",
                got="graded scores, or rows of one source joined",
                expected="randomization or bootstrap",
            )
    first = int(((a[:, 0] == 1) & (b[:, 0] == 0)).sum())
    second = int(((a[:, 0] == 0) & (b[:, 0] == 1)).sum())
    count = first + second
    tail = sum(math.comb(count, k) for k in range(min(first, second) + 1))
    return min(1.0, 2 * tail / 2**count)
