"""Pearson's correlation from sums, and how a number is read out of an answer.

r = cov(x, y) / sqrt(var(x) var(y))        0 where one side does not vary
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tutelage.errors import DataError
from tutelage.score._metric import divide

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def number(text: str) -> float | None:
    """The first number in a text; commas between digits group thousands."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    value = float(found[0].replace(",", "").rstrip("."))
    return value if np.isfinite(value) else None


def numbers(references: Sequence[str], answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as numbers [n]. An answer without one stands at the mean of the references, where
    it says nothing. Raises DataError at a reference without a number."""
    pairs = [(number(r), number(a)) for r, a in zip(references, answers, strict=True)]
    for reference, (value, _) in zip(references, pairs, strict=True):
        if value is None:
            raise DataError("a reference without a number", field="reference", got=reference[:60])
    true = np.array([value for value, _ in pairs], dtype=float)
    middle = float(true.mean()) if len(true) else 0.0
    return true, np.array([middle if got is None else got for _, got in pairs], dtype=float)


def sums_of(true: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Rows [n, 6] of 1, x, y, x^2, y^2, x y, both sides scaled to mean 0 and deviation 1 first, so
    that nothing cancels."""
    x, y = (_scaled(side) for side in (true, got))
    return np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y])


def pearson(sums: np.ndarray) -> np.ndarray:
    """r from the sums of such rows."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    safe = np.where(count == 0, 1.0, count)
    spread_x, spread_y = xx - x * x / safe, yy - y * y / safe
    below = np.sqrt(np.maximum(spread_x, 0) * np.maximum(spread_y, 0))
    below = np.where(below < 1e-12 * safe, 0.0, below)
    return np.clip(divide(xy - x * y / safe, below), -1.0, 1.0)


def _scaled(side: np.ndarray) -> np.ndarray:
    centred = side - side.mean() if len(side) else side
    spread = float(centred.std()) if len(side) else 0.0
    return centred / spread if spread > 0 else centred
