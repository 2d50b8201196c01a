"""TruthfulQA, MC1: the true answer among false ones that people believe (Lin et al. 2022).

arXiv:2109.07958. The best answer against all incorrect ones; the likeliest is taken. It is
published in the first place always: choices are turned by the question's number, so that a model
that names A says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/sylinrl/TruthfulQA: TruthfulQA.csv; or the hub's truthfulqa/truthful_qa"
_FILES = ("TruthfulQA.csv", "mc_task.json", *hub("multiple_choice", "validation"))


def _questions(folder: Path) -> Iterator[Question]:
    for number, (where, _, row) in enumerate(numbered(folder, _FILES, CITED)):
        text, choices, best, kind = checked("truthfulqa", where, row, CITED, _read)
        turned = number % len(choices)
        choices = choices[turned:] + choices[:turned]
        yield Question(f"truthfulqa-{number}", text, best, choices, kind)


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], str, str | None]:
    if "mc1_targets" not in row:
        wrong = [part.strip() for part in row["Incorrect Answers"].split(";") if part.strip()]
        best = row["Best Answer"].strip()
        return row["Question"], tuple(dict.fromkeys([best, *wrong])), best, row["Category"]
    targets = row["mc1_targets"]
    if "labels" in targets:
        targets = dict(zip(targets["choices"], targets["labels"], strict=True))
    best = next(text for text, label in targets.items() if label == 1)
    return row["question"], tuple(targets), best, None


TASK = Task(
    "truthfulqa",
    "choice",
    "truthfulqa",
    _questions,
    CITED,
    metrics=("accuracy",),
    hub="hf:truthfulqa/truthful_qa/multiple_choice",
)
