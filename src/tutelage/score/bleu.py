"""Corpus BLEU with sacrebleu's defaults: 13a tokens, orders 1-4, exponential smoothing.

    BLEU = min(1, exp(1 - r/c)) * (p1 p2 p3 p4)^(1/4),  p_n = matches_n / totals_n
    (k-th order without a match: p_n = 1 / (2^k totals_n); no match at all, or an order
    without n-grams: 0)

Papineni et al. 2002; Chen and Cherry 2014, method 3. Value in 0..1, sacrebleu's score / 100.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.score._metric import Metric, divide

ORDERS = 4


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns: answer length, reference length, matches of orders 1-4, totals of orders 1-4."""
    rows = np.zeros((len(references), 2 + 2 * ORDERS))
    for row, reference, answer in zip(rows, references, answers, strict=True):
        score = _sacrebleu().corpus_score([answer], [[reference]])
        row[:] = [score.sys_len, score.ref_len, *score.counts, *score.totals]
    return rows


def _aggregate(sums: np.ndarray) -> np.ndarray:
    length, reference = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    unmatched = (matches <= 0) & (totals > 0)
    halvings = np.where(unmatched, np.cumsum(unmatched, axis=-1), 0)
    precision = divide(np.where(unmatched, 0.5**halvings, matches), totals)
    defined = np.asarray((matches > 0).any(axis=-1) & (totals > 0).all(axis=-1))
    log_precision = np.log(np.where(defined[..., None], precision, 1.0)).mean(axis=-1)
    log_brevity = np.minimum(0.0, 1.0 - divide(reference, length))
    return np.where(defined, np.exp(log_precision + log_brevity), 0.0)


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(force=True)  # only silences the remark that the text looks tokenized


METRIC = Metric("bleu", _statistics, _aggregate)
