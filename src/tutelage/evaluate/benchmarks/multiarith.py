"""MultiArith: arithmetic of several steps (Roy and Roth 2015, arXiv:1608.01413)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._common_choice import CITED
from tutelage.evaluate.benchmarks._files import numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._numbers import last_number, same_number
from tutelage.evaluate.benchmarks._task import Question, Task


def _questions(folder: Path) -> Iterator[Question]:
    for where, id, row in numbered(folder, ("multiarith_test.json",), CITED):
        text, answer = checked("multiarith", where, row, CITED, _read)
        yield Question(f"multiarith-{id.rpartition('-')[2]}", text, answer)


def _read(row: dict[str, Any]) -> tuple[str, str]:
    return row["instruction"].strip(), str(row["answer"])


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
