"""MultiArith: arithmetic of several steps (Roy and Roth 2015, arXiv:1608.01413)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._common_choice import CITED
from tutelage.evaluate.benchmarks._numbers import last_number, same_number
from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _questions(folder: Path) -> Iterator[Question]:
    for number, row in enumerate(rows(folder / "multiarith_test.json")):
        yield Question(f"multiarith-{number}", row["instruction"].strip(), str(row["answer"]))


TASK = Task(
    "multiarith",
    "answer",
    "commonsense_mc",
    _questions,
    CITED,
    extract=last_number,
    form=same_number,
    max_new_tokens=256,
)
