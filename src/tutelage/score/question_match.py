"""The share of questions all of whose parts are answered right: MultiRC's exact match.

A question's parts are rows of one source. Its statistic (all right, 1) stands in its first row and
(0, 0) in the others, so that sums over whole questions are sums over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from tutelage.errors import ConfigError
from tutelage.score._metric import Metric, mean


def _needed(references: Sequence[str], answers: Sequence[str]) -> NoReturn:
    raise ConfigError(
        "this needs to know which rows are parts of one question", field="--metric",
        expected="a task whose questions have parts, as multirc",
    )  # fmt: skip


def rows_by_question(hits: np.ndarray, sources: Sequence[str | None]) -> np.ndarray:
    """[n, 2] of hits [n] in 0 and 1."""
    parts: dict[str | None, list[int]] = {}
    for place, source in enumerate(sources):
        parts.setdefault(source, []).append(place)
    rows = np.zeros((len(hits), 2))
    for places in parts.values():
        rows[places[0]] = hits[places].all(), 1
    return rows


METRIC = Metric("question_match", _needed, mean, needs="questions")
