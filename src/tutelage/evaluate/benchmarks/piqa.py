"""PIQA: which way of doing a thing works (Bisk et al. 2020, arXiv:1911.11641).

The authors publish questions and labels as two files of as many lines, the hub as one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._files import hub, numbered, place
from tutelage.evaluate.benchmarks._lines import apart, checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "yonatanbisk.com/piqa: valid.jsonl and valid-labels.lst, train likewise"


def _part(name: str, split: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        names = (f"{name}.jsonl", *hub("plain_text", split))
        rows = list(numbered(folder, names, CITED))
        if rows and "label" not in rows[0][2]:
            right = _labels(folder / f"{name}-labels.lst", len(rows))
            rows = [
                (where, id, {**row, "label": label})
                for (where, id, row), label in zip(rows, right, strict=True)
            ]
        for where, id, row in rows:
            text, choices, at = checked("piqa", where, row, CITED, _read)
            told = apart(choices)
            yield Question(id, text, told[at], told)

    return found


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    return row["goal"], (row["sol1"].strip(), row["sol2"].strip()), place(row["label"], "01")


def _labels(path: Path, count: int) -> list[str]:
    try:
        right = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", field=str(path)) from None
    if len(right) != count or not set(right) <= {"0", "1"}:
        raise DataError(
            "labels do not fit the questions", field=str(path), got=len(right),
            expected=f"{count} lines of 0 or 1",
        )  # fmt: skip
    return right


TASK = Task(
    "piqa",
    "choice",
    "piqa",
    _part("valid", "validation"),
    CITED,
    examples=_part("train", "train"),
    metrics=("accuracy",),
    hub="hf:ybisk/piqa@refs/convert/parquet",
)
