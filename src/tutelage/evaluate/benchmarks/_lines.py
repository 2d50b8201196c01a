"""Tasks of choices whose rows are published as JSON lines or a table: file, columns, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import Question, Task, rows

Read = Callable[[dict[str, Any]], tuple[str, tuple[str, ...], int]]
"""Of a row: the question, the choices, the right one's place."""


def choice_lines(name: str, test: str, train: str | None, cited: str, read: Read) -> Task:
    """The task of `test`, a file of the folder, with the examples of `train`."""

    def part(file: str) -> Callable[[Path], Iterator[Question]]:
        def found(folder: Path) -> Iterator[Question]:
            for number, row in enumerate(rows(folder / file)):
                where = f"{folder / file}:{number}"
                try:
                    text, choices, right = read(row)
                    told = tuple(c + " " * choices[:n].count(c) for n, c in enumerate(choices))
                    yield Question(f"{Path(file).stem}-{number}", text, told[right], told)
                except (KeyError, IndexError, ValueError) as error:
                    raise DataError(
                        f"not a row of {name}: {error!r}", field=where, got=", ".join(row)[:80],
                        expected=cited,
                    ) from None  # fmt: skip

        return found

    examples = None if train is None else part(train)
    return Task(name, "choice", name, part(test), cited, examples=examples, metrics=("accuracy",))
