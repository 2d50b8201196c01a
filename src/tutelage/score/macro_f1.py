"""Macro F1: the plain mean over labels of each label's F1, so that rare labels count as much.

    F1(label) = 2 TP / (2 TP + FP + FN)

The labels are those of the references, normalised; an answer that is none of them is wrong for its
own row and for nobody else. In a resample, a label that occurs on neither side is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.score._metric import Metric, divide
from tutelage.score._normalise import label


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns, label by label: true positives, false positives, false negatives."""
    expected, got = [label(r) for r in references], [label(a) for a in answers]
    place = {name: index for index, name in enumerate(sorted(set(expected)))}
    rows = np.zeros((len(expected), len(place), 3))
    for row, right, answered in zip(rows, expected, got, strict=True):
        if right == answered:
            row[place[right], 0] = 1
            continue
        row[place[right], 2] = 1
        if answered in place:
            row[place[answered], 1] = 1
    return rows.reshape(len(expected), -1)


def _aggregate(sums: np.ndarray) -> np.ndarray:
    by_label = sums.reshape(*sums.shape[:-1], -1, 3)
    hits, errors = by_label[..., 0], by_label[..., 1] + by_label[..., 2]
    occurs = 2 * hits + errors > 0
    return divide(divide(2 * hits, 2 * hits + errors).sum(axis=-1), occurs.sum(axis=-1))


METRIC = Metric("macro_f1", _statistics, _aggregate)
