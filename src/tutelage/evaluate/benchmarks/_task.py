"""What a benchmark is: questions with right answers, how they are put, and how answers are read.

    choice   one of several texts is right; the likeliest is taken, or a letter is asked for
    answer   the model writes, the answer is found in what it wrote
    pair     two sentences, which of them is likelier; a third may have nothing to do with them
    code     the model writes a function, which is run with its tests

A task's file holds its questions' place and form and nothing of models. Data are read from a folder
laid out as their authors publish them.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError
from tutelage.score._normalise import short_answer

Kind = Literal["choice", "answer", "pair", "code"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FOLDER = Path("../shared/data")
"""Where data are looked for, from the folder the command is given in."""


@dataclass(frozen=True)
class Question:
    """`answer` is the right one: of choices its text, of a pair the good sentence.

    `source` is the subject or file, which slices and clusters go by. `test` is a program that comes
    to its end behind a right function called `name`. `accepted` are all right answers where there
    are several; of choices their texts. `steps` lead to the answer of a shown example.
    """

    id: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()
    source: str | None = None
    test: str = ""
    name: str = ""
    accepted: tuple[str, ...] = ()
    steps: str = ""

    @property
    def right(self) -> int:
        """Place of the right choice."""
        return self.choices.index(self.answer)

    @property
    def rights(self) -> tuple[int, ...]:
        """Places of all choices that are right."""
        return tuple(map(self.choices.index, self.accepted or (self.answer,)))


@dataclass(frozen=True)
class Task:
    """`questions(folder)` yields what is measured, `examples(folder)` what may be shown as solved.

    `extract` finds the answer in a model's words, `form` says what counts as the same answer.
    `letters`: whether choices are listed with letters, and a letter is what is scored.
    """

    name: str
    kind: Kind
    folder: str
    questions: Callable[[Path], Iterator[Question]]
    cited: str
    examples: Callable[[Path], Iterator[Question]] | None = None
    extract: Callable[[str], str | None] = lambda text: text.strip() or None
    form: Callable[[str], str] = short_answer
    metrics: tuple[str, ...] = ("exact_match",)
    letters: bool = False
    max_new_tokens: int = 64
    same_source: bool = False
    """Whether examples are of the question's own subject."""
    drawn: bool = False
    """Whether it can be asked for several answers, of which the worst counts."""
    hub: str = ""
    """A data set of the hub in a form that is read."""

    def data(self, folder: Path | None) -> Path:
        """The folder of this task's data. Raises DataError saying what is missing."""
        found = FOLDER / self.folder if folder is None else folder
        if not found.is_dir():
            raise DataError(
                f"the data of {self.name} are not here",
                field="--data",
                got=str(found),
                expected=f"a folder laid out as {self.cited}",
                hint="say where with --data FOLDER"
                + (f", or fetch them with --data {self.hub}" if self.hub else ""),
            )
        return found


def rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Objects of .json lists, .jsonl, .jsonl.gz, .csv, .tsv, .parquet.

    `columns` names those of a table without a header. Raises DataError naming the file, or the row
    that is no object, counted from 1.
    """
    read = _read(path, columns)
    for number, row in enumerate(read, 1):
        if not isinstance(row, dict):
            raise DataError(
                "a row is no object", field=f"{path}:{number}", got=repr(row)[:80],
                expected='{"name": value, ...}',
            )  # fmt: skip
    return read


def _read(path: Path, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        with path.open("rb") as stream:
            return [one.value for one in _records(stream, path)]
    try:
        if path.suffix == ".tsv":  # GLUE's tables know no quotes
            with path.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file, columns, delimiter="\t", quoting=csv.QUOTE_NONE))
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file, columns))
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
        if ".jsonl" in path.name:
            return _lines(text)
        return _objects(text)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", field=str(path)) from None


def _lines(text: str) -> list[dict[str, Any]]:
    """JSON lines end at a line feed alone: other ends of lines may stand within a text."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _objects(text: str) -> list[dict[str, Any]]:
    """Of a list, of an object that holds one or is a row, or of JSON lines named .json."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        return _lines(text)
    if isinstance(read, list):
        return read
    inside = read.get("examples", read.get("data", read))
    return list(inside) if isinstance(inside, list) else [inside]


def _records(stream: BinaryIO, path: Path) -> Iterator[Record]:
    from tutelage.data.parquet_records import read_parquet

    for one in read_parquet(stream, str(path), path.name):
        if isinstance(one, SetAside):
            raise DataError(f"cannot read a row: {one.detail}", field=one.where, got=one.reason)
        yield one


def by_letter(choices: Sequence[str]) -> str:
    """The choices, a line each with its letter."""
    return "\n".join(f"{LETTERS[n]}. {choice}" for n, choice in enumerate(choices))
