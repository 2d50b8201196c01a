"""What of a test a model may have seen in training: rows shown, and scores with and without them.

    found = leaked(training rows, items)                  n-grams, near-duplicates, exact copies
    found = leaked(training rows, items, embed)           and likeness of meaning
    with_and_without(evaluation, {leak.id for leak in found})

Copies and n-grams are `data/contamination.py`'s (Brown et al. 2020, appendix C). By meaning, a test
question is suspect where a training row's vector is nearer than cosine 0.9 (Yang et al. 2023,
arXiv:2311.04850, find rephrased items so). Knows rows, items and vectors; no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.data.contamination import overlap
from tutelage.data.near_duplicates import row_text
from tutelage.data.rows import Row
from tutelage.evaluate.run import Evaluation, Item
from tutelage.evaluate.statistics import Measured, measured
from tutelage.lm import Message
from tutelage.score import METRICS

ALIKE = 0.9
"""Cosine from which a training row gives a question away by its meaning."""

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Leak:
    """A test item and the training row that gives it away; `kind` is exact, near, n-gram or
    meaning."""

    id: str
    train_id: str
    kind: str
    similarity: float


def leaked(train: Sequence[Row], items: Sequence[Item], embed: Embed | None = None) -> list[Leak]:
    """The items that training rows give away, each by the strictest kind."""
    test = [_row(item) for item in items]
    found = {
        pair.test_id: Leak(pair.test_id, pair.train_id, pair.kind, pair.similarity)
        for pair in overlap(train, test).pairs
    }
    if embed is not None and train:
        for leak in _by_meaning(train, test, embed):
            found.setdefault(leak.id, leak)
    return [found[item.id] for item in items if item.id in found]


def with_and_without(
    evaluation: Evaluation, ids: Collection[str], seed: int = 0
) -> dict[str, dict[str, Measured]]:
    """Every metric of all items, and of those that nothing gives away."""
    clean = [place for place, item in enumerate(evaluation.items) if item.id not in ids]
    table = {}
    for name, rows in evaluation.statistics.items():
        metric = METRICS.get(name)
        table[name] = {
            "with": evaluation.measured[name],
            "without": measured(rows[clean], metric.aggregate, seed, limits=metric.limits),
        }
    return table


def as_json(
    found: Sequence[Leak], evaluation: Evaluation, train: int, seed: int = 0
) -> dict[str, Any]:
    """`{"n", "train_rows", "rows", "metrics"}`."""
    return {
        "n": len(evaluation.items),
        "train_rows": train,
        "rows": [vars(leak) for leak in found],
        "metrics": with_and_without(evaluation, {leak.id for leak in found}, seed),
    }


def _row(item: Item) -> Row:
    """An item as a row: its question is the last turn, without the examples before it."""
    if isinstance(item.prompt, str):
        messages = (Message("user", item.prompt),)
    else:
        messages = (item.prompt[-1],)
    return Row(item.id, item.id, messages, item.reference)


def _by_meaning(train: Sequence[Row], test: Sequence[Row], embed: Embed) -> list[Leak]:
    texts = [row_text(row) for row in (*train, *test)]
    vectors = np.asarray(embed(texts), dtype=float)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    known, asked = vectors[: len(train)], vectors[len(train) :]
    found = []
    for row, vector in zip(test, asked, strict=True):
        alike = known @ vector
        best = int(alike.argmax())
        if alike[best] >= ALIKE:
            found.append(Leak(row.id, train[best].id, "meaning", float(alike[best])))
    return found
