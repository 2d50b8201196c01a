"""Corpus chrF2: character n-grams of orders 1-6 without whitespace, recall weighing twice.

    chrF = (1 + b^2) P R / (b^2 P + R),  b = 2
    P, R = matches / answer's n-grams, matches / reference's n-grams, each averaged over the orders
           that both sides have

Popovic 2015, as sacrebleu counts it. Value in 0..1, sacrebleu's score / 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tutelage.score._metric import Metric, divide

ORDERS = 6
BETA = 2


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns, order by order: n-grams of the answer, of the reference, common to both."""
    rows = [_counts(r, a) for r, a in zip(references, answers, strict=True)]
    return np.asarray(rows, dtype=float).reshape(len(rows), 3 * ORDERS)


def _counts(reference: str, answer: str) -> list[int]:
    expected, got = "".join(reference.split()), "".join(answer.split())
    counts = []
    for order in range(1, ORDERS + 1):
        known, found = _ngrams(expected, order), _ngrams(got, order)
        # sacrebleu does not count an answer's n-grams of an order the reference is too short for.
        total = found.total() if known else 0
        counts += [total, known.total(), (known & found).total()]
    return counts


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))


def _aggregate(sums: np.ndarray) -> np.ndarray:
    by_order = sums.reshape(*sums.shape[:-1], ORDERS, 3)
    found, known, common = by_order[..., 0], by_order[..., 1], by_order[..., 2]
    both = (found > 0) & (known > 0)
    orders = both.sum(axis=-1)
    precision = divide((divide(common, found) * both).sum(axis=-1), orders)
    recall = divide((divide(common, known) * both).sum(axis=-1), orders)
    return divide((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


METRIC = Metric("chrf", _statistics, _aggregate)
