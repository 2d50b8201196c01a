"""Matthews' correlation of labels, for two classes and more (Gorodkin 2004, R_K).

    MCC = (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))

s rows, c right ones, p_k rows answered k, t_k rows that are k. An answer that is no label of the
references is a class of its own. 0 where one side has a single class. From -1 to 1; CoLA's metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.score._metric import Metric, divide
from tutelage.score._normalise import label


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns: 1, right, answered class by class, true class by class; last 'none of them'."""
    pairs = [(label(r), label(a)) for r, a in zip(references, answers, strict=True)]
    place = {name: index for index, name in enumerate(sorted({true for true, _ in pairs}))}
    count = len(place) + 1
    rows = np.zeros((len(pairs), 2 + 2 * count))
    for row, (true, got) in zip(rows, pairs, strict=True):
        row[:2] = 1, true == got
        row[2 + place.get(got, count - 1)] = 1
        row[2 + count + place[true]] = 1
    return rows


def _aggregate(sums: np.ndarray) -> np.ndarray:
    rows, right = sums[..., 0], sums[..., 1]
    by_class = sums[..., 2:].reshape(*sums.shape[:-1], 2, -1)
    answered, true = by_class[..., 0, :], by_class[..., 1, :]
    above = right * rows - (answered * true).sum(axis=-1)
    below = (rows**2 - (answered**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1))
    return divide(above, np.sqrt(np.maximum(below, 0)))


METRIC = Metric("matthews", _statistics, _aggregate, limits=(-1.0, 1.0))
