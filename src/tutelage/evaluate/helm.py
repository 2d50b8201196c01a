"""A scenario by HELM's seven measures (Liang et al. 2022, arXiv:2211.09110, section 4).

    accuracy      the task's first metric of single items
    calibration   ECE of choices' probabilities
    robustness    the same metric, each item at its worst over the question and it written otherwise
    fairness      likewise over dialect, gender and names
    bias          how far words of men and women in the answers are from even (total variation)
    toxicity      share of toxic answers
    efficiency    seconds an item

A measure that a scenario does not have is null with the reason. Robustness and fairness ask the
model once more for each change that alters any question at all. Knows the seam alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.errors import ConfigError
from tutelage.evaluate.benchmark import measure
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.evaluate.result import Result
from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.settings import Settings
from tutelage.evaluate.statistics import measured
from tutelage.evaluate.toxicity import rate, scorer
from tutelage.lm import LM
from tutelage.progress import Progress
from tutelage.prompts.perturb import FAIRNESS, ROBUSTNESS, Change
from tutelage.score import METRICS
from tutelage.score._metric import mean

Json = dict[str, Any]
MEASURES = (
    "accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency",
)  # fmt: skip
_MEN = "he him his himself man men boy boys father son brother husband male"
_WOMEN = "she her hers herself woman women girl girls mother daughter sister wife female"
MEN, WOMEN = frozenset(_MEN.split()), frozenset(_WOMEN.split())


def check(task: Task) -> None:
    """Raises ConfigError for a task whose questions cannot be asked another way."""
    if task.kind not in ("choice", "answer"):
        raise ConfigError(
            "its questions are not put in other words", field="--helm", got=task.name,
            expected="a task of choices or of written answers",
        )  # fmt: skip


def seven(
    lm: LM, task: Task, folder: Path, settings: Settings, limit: int | None, found: Result,
    progress: Progress,
) -> Json:  # fmt: skip
    """Each of MEASURES: {"value", "low", "high", "n", ...}, or {"value": null, "reason"}."""
    name = _single(found.evaluation)
    seed = settings.seed

    def worst(changes: Mapping[str, Change]) -> Json:
        if name is None:
            return _none("no metric of single items")
        rows = {"as it is": found.evaluation.statistics[name][:, 0]}
        for change, write in changes.items():
            other = _changed(task, write, seed)
            texts = {q.id: q.text for q in other.questions(folder)}
            if all(item.prompt == texts[item.id] for item in found.bare):
                continue
            again = measure(lm, other, folder, settings, limit=limit, progress=progress)
            rows[change] = again.evaluation.statistics[name][:, 0]
        if len(rows) == 1:
            return _none("no question has a word that changes")
        least = np.min(list(rows.values()), axis=0)
        value = measured(np.column_stack([least, np.ones(len(least))]), mean, seed)
        return {**value, "of": {change: float(row.mean()) for change, row in rows.items()}}

    return {
        "accuracy": _none("no metric of single items") if name is None
        else {**found.evaluation.measured[name], "metric": name},
        "calibration": _calibration(found.evaluation),
        "robustness": worst(ROBUSTNESS),
        "fairness": worst(FAIRNESS),
        "bias": _bias(found),
        "toxicity": _toxicity(found, seed),
        "efficiency": _efficiency(found.evaluation, seed),
    }  # fmt: skip


def _changed(task: Task, write: Change, seed: int) -> Task:
    """The task with every question written otherwise; choices, answers and examples stay."""

    def questions(folder: Path) -> Iterator[Question]:
        for question in task.questions(folder):
            yield replace(question, text=write(question.text, seed))

    return replace(task, questions=questions)


def _single(evaluation: Evaluation) -> str | None:
    """The first metric whose rows are a score of their item and 1."""
    for name, rows in evaluation.statistics.items():
        if rows.shape[1] == 2 and (rows[:, 1] == 1).all() and METRICS.get(name).limits == (0, 1):
            return name
    return None


def _none(reason: str) -> Json:
    return {"value": None, "reason": reason}


def _calibration(evaluation: Evaluation) -> Json:
    if "ece" not in evaluation.measured:
        return _none("answers in words have no probabilities")
    return {**evaluation.measured["ece"], "metric": "ece"}


def _said(found: Result) -> list[str]:
    """All that was said, or the choice that was taken."""
    return [
        "\n".join(more.get("said", [])) or answer.text
        for answer, more in zip(found.evaluation.answers, found.details, strict=True)
    ]


def _bias(found: Result) -> Json:
    """|p(men) - 1/2| over the words that name either, 0 even and 1/2 one alone (HELM, 4.7)."""
    words = [word for text in _said(found) for word in re.findall(r"[a-z]+", text.lower())]
    men, women = sum(word in MEN for word in words), sum(word in WOMEN for word in words)
    if not men + women:
        return _none("no answer names a man or a woman")
    return {"value": abs(men / (men + women) - 0.5), "men": men, "women": women}


def _toxicity(found: Result, seed: int) -> Json:
    return {**rate(scorer("words"), _said(found), seed), "scorer": "words"}


def _efficiency(evaluation: Evaluation, seed: int) -> Json:
    count = len(evaluation.items)
    tokens = sum(a.completion_tokens for a in evaluation.answers) / count
    return {"value": evaluation.seconds / count, "unit": "seconds an item", "answer_tokens": tokens}


def lines(found: Mapping[str, Json]) -> Sequence[tuple[str, str, str]]:
    """Measure, value and interval or what it is, for people."""
    told = []
    for name in MEASURES:
        one = found[name]
        if one["value"] is None:
            told.append((name, "-", one["reason"]))
            continue
        interval = f"{one['low']:.3f} to {one['high']:.3f}" if one.get("low") is not None else ""
        more = ", ".join(f"{key} {value:.3f}" for key, value in one.get("of", {}).items())
        rest = one.get("metric") or one.get("scorer") or one.get("unit") or more
        told.append((name, f"{one['value']:.3f}", f"{interval}  {rest}".strip()))
    return told
