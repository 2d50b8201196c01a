"""Tasks of choices whose rows are published as lines or tables: files, columns, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._files import numbered
from tutelage.evaluate.benchmarks._task import Question, Task

Read = Callable[[dict[str, Any]], tuple[Any, ...]]
"""Of a row: question, choices, the right one's place, and the subject where there is one."""
Part = Callable[[Path], Iterator[Question]]


def choice_lines(
    name: str,
    test: Sequence[str],
    train: Sequence[str] | None,
    cited: str,
    read: Read,
    *,
    folder: str | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
    columns: Sequence[str] | None = None,
    hub: str = "",
) -> Task:
    """The task of the files `test` fits, with examples from those of `train`; see `_files.py`.

    `columns` names those of a table that has no header, `hub` is a data set in a form that is read.
    """

    def part(names: Sequence[str]) -> Part:
        return lambda where: _questions(name, where, names, cited, read, columns)

    examples = None if train is None else part(train)
    return Task(
        name, "choice", folder or name, part(test), cited, examples=examples, metrics=metrics,
        hub=hub,
    )  # fmt: skip


def _questions(
    name: str, folder: Path, names: Sequence[str], cited: str, read: Read,
    columns: Sequence[str] | None,
) -> Iterator[Question]:  # fmt: skip
    for where, id, row in numbered(folder, names, cited, columns):
        with_place = checked(name, where, row, cited, read)
        text, choices, right, *source = with_place
        told = apart(choices)
        yield Question(id, text, told[right], told, *source)


def checked(
    name: str, where: str, row: dict[str, Any], cited: str, read: Callable[[dict[str, Any]], Any]
) -> Any:
    """What `read` makes of the row. Raises DataError naming the row of another form."""
    try:
        return read(row)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"not a row of {name}: {error!r}", field=where,
            got=", ".join(map(str, row))[:80], expected=cited,
        ) from None  # fmt: skip


def apart(choices: Sequence[str]) -> tuple[str, ...]:
    """Choices that stand twice are told apart by white space, so that each has a place."""
    return tuple(c + " " * list(choices[:n]).count(c) for n, c in enumerate(choices))
