"""How far a model's probabilities are from how often it is right.

    ECE = sum over bins of |sum of confidence - number right| / n          15 bins of equal width
    Brier = mean of sum_k (p_k - [k is right])^2                           0 to 2

Naeini et al. 2015 and Guo et al. 2017, arXiv:1706.04599; Brier 1950. Statistics come from
probabilities [n, k] and not from texts, so both have to be handed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tutelage.errors import ConfigError
from tutelage.score._metric import divide

BINS = 15


def needed(references: Sequence[str], answers: Sequence[str]) -> NoReturn:
    """The statistics of a metric of probabilities where there are only texts."""
    raise ConfigError(
        "this needs the probabilities of choices",
        field="--metric",
        expected="a task of choices and a model that scores",
    )


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Place of the bin (low, high] each confidence is in."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def ece_rows(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[n, 3 x BINS]: in its own bin 1, the confidence, and whether it was right."""
    count = len(confidence)
    rows = np.zeros((count, BINS, 3))
    rows[np.arange(count), bin_of(confidence)] = np.column_stack(
        [np.ones(count), confidence, right]
    )
    return rows.reshape(count, -1)


def ece(sums: np.ndarray) -> np.ndarray:
    """The aggregate of such rows."""
    by_bin = sums.reshape(*sums.shape[:-1], BINS, 3)
    gaps = np.abs(by_bin[..., 1] - by_bin[..., 2]).sum(axis=-1)
    return divide(gaps, by_bin[..., 0].sum(axis=-1))


def brier_rows(probabilities: Sequence[np.ndarray], right: Sequence[int]) -> np.ndarray:
    """[n, 2]: the squared distance of each row's probabilities from certainty, and 1."""
    distances = [
        float(((row - (np.arange(len(row)) == place)) ** 2).sum())
        for row, place in zip(probabilities, right, strict=True)
    ]
    return np.column_stack([np.asarray(distances, dtype=float), np.ones(len(distances))])


def reliability(sums: np.ndarray) -> list[dict[str, Any]]:
    """The picture: of each bin that holds rows its edges, number, mean confidence and accuracy."""
    found = []
    for place, (count, confidence, right) in enumerate(sums.reshape(BINS, 3)):
        if count:
            found.append(
                {
                    "low": place / BINS, "high": (place + 1) / BINS, "n": int(count),
                    "confidence": confidence / count, "accuracy": right / count,
                }
            )  # fmt: skip
    return found
