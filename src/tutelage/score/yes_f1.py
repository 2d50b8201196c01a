"""F1 of the label "yes", as MRPC, QQP and MultiRC report it; right noes are not in it.

F1 = 2 TP / (2 TP + FP + FN)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.score._metric import Metric, divide
from tutelage.score._normalise import label

YES = "yes"


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns: true positives, false positives, false negatives."""
    pairs = [(label(r) == YES, label(a) == YES) for r, a in zip(references, answers, strict=True)]
    true, got = np.array(pairs, dtype=bool).reshape(-1, 2).T
    return np.column_stack([true & got, ~true & got, true & ~got]).astype(float)


def _aggregate(sums: np.ndarray) -> np.ndarray:
    twice = 2 * sums[..., 0]
    return divide(twice, twice + sums[..., 1] + sums[..., 2])


METRIC = Metric("yes_f1", _statistics, _aggregate, reads="yes")
