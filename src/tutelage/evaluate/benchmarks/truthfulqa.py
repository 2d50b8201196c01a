"""TruthfulQA, MC1: the true answer among false ones that people believe (Lin et al. 2022).

arXiv:2109.07958. The best answer against all incorrect ones; the likeliest is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _questions(folder: Path) -> Iterator[Question]:
    for number, row in enumerate(rows(folder / "TruthfulQA.csv")):
        wrong = [part.strip() for part in row["Incorrect Answers"].split(";") if part.strip()]
        best = row["Best Answer"].strip()
        choices = tuple(dict.fromkeys([best, *wrong]))
        yield Question(f"truthfulqa-{number}", row["Question"], best, choices, row["Category"])


TASK = Task(
    "truthfulqa",
    "choice",
    "truthfulqa",
    _questions,
    "github.com/sylinrl/TruthfulQA: TruthfulQA.csv",
    metrics=("accuracy",),
)
