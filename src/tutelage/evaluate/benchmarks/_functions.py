"""Functions to be written, with tests: JSON lines in HumanEval's form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task


def function_task(name: str, file: str, cited: str) -> Task:
    """A row has `task_id`, `prompt` (the head), `canonical_solution` (the body), `entry_point` and
    `test`, which defines `check`."""

    def questions(folder: Path) -> Iterator[Question]:
        for where, _, row in numbered(folder, (file,), cited):
            yield checked(name, where, row, cited, _read)

    metrics = ("pass_at_1", "pass_at_10", "pass_at_100")
    where: Callable[[Path], Iterator[Question]] = questions
    return Task(name, "code", name, where, cited, metrics=metrics, max_new_tokens=512)


def _read(row: dict[str, Any]) -> Question:
    # Some functions are called `check` too, so the answer is named before the test is read.
    check = f"_answer = {row['entry_point']}\n\n{row['test']}\n\ncheck(_answer)\n"
    return Question(
        row["task_id"], row["prompt"], row["canonical_solution"],
        test=check, name=row["entry_point"],
    )  # fmt: skip
