"""What measuring a benchmark gives: an evaluation, and what was said besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tutelage import store
from tutelage.evaluate.benchmarks._task import Question
from tutelage.evaluate.run import Answer, Evaluation, Item, plain
from tutelage.evaluate.statistics import measured
from tutelage.score import METRICS


@dataclass(frozen=True)
class Result:
    """An evaluation, what was said besides the answers, and how it was asked."""

    evaluation: Evaluation
    details: tuple[dict[str, Any], ...]
    calibration: list[dict[str, Any]] | None
    how: str
    bare: tuple[Item, ...]
    """The questions alone, without examples and instructions."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What the file says besides, as the layers of a sandbox."""


def evaluation_of(
    items: Sequence[Item],
    answers: Sequence[Answer],
    statistics: Mapping[str, np.ndarray],
    seconds: float,
    seed: int,
) -> Evaluation:
    """The evaluation of row statistics that did not come from comparing texts."""
    values = {}
    for name, rows in statistics.items():
        metric = METRICS.get(name)
        values[name] = measured(rows, metric.aggregate, seed, limits=metric.limits)
    prompts = [[item.id, plain(item.prompt)] for item in items]
    return Evaluation(
        tuple(items), tuple(answers), dict(statistics), values, seconds, store.digest(prompts)
    )


def bare(questions: Sequence[Question]) -> tuple[Item, ...]:
    return tuple(Item(q.id, q.text or q.answer, q.answer, q.source) for q in questions)
