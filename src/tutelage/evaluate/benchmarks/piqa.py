"""PIQA: which way of doing a thing works (Bisk et al. 2020, arXiv:1911.11641).

Questions and labels are published as two files of as many lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _part(name: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        asked, labels = rows(folder / f"{name}.jsonl"), folder / f"{name}-labels.lst"
        try:
            right = [int(line) for line in labels.read_text(encoding="utf-8").split()]
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {labels}: {error}", field=str(labels)) from None
        if len(right) != len(asked) or not set(right) <= {0, 1}:
            raise DataError(
                "labels do not fit the questions", field=str(labels), got=len(right),
                expected=f"{len(asked)} lines of 0 or 1",
            )  # fmt: skip
        for number, (row, place) in enumerate(zip(asked, right, strict=True)):
            choices = (
                row["sol1"].strip(),
                row["sol2"].strip() + " " * (row["sol1"] == row["sol2"]),
            )
            yield Question(f"{name}-{number}", row["goal"], choices[place], choices)

    return found


TASK = Task(
    "piqa",
    "choice",
    "piqa",
    _part("valid"),
    "yonatanbisk.com/piqa: valid.jsonl and valid-labels.lst, train likewise",
    examples=_part("train"),
    metrics=("accuracy",),
)
