"""What a benchmark is: questions with right answers, how they are put, and how answers are read.

    choice   one of several texts is right; the likeliest is taken, or a letter is asked for
    answer   the model writes, the answer is found in what it wrote
    pair     two sentences, the first of which should be the likelier
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
from typing import Any, Literal

from tutelage.errors import DataError
from tutelage.score._normalise import label, short_answer

Kind = Literal["choice", "answer", "pair", "code"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FOLDER = Path("../shared/data")
"""Where data are looked for, from the folder the command is given in."""


@dataclass(frozen=True)
class Question:
    """`answer` is the right one: of choices its text, of a pair the good sentence.

    `source` is the subject or file, which slices and clusters go by. `test` is a program that comes
    to its end behind a right function called `name`.
    """

    id: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()
    source: str | None = None
    test: str = ""
    name: str = ""

    @property
    def right(self) -> int:
        """Place of the right choice."""
        return self.choices.index(self.answer)


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

    def data(self, folder: Path | None) -> Path:
        """The folder of this task's data. Raises DataError saying what is missing."""
        found = FOLDER / self.folder if folder is None else folder
        if not found.is_dir():
            raise DataError(
                f"the data of {self.name} are not here",
                field="--data",
                got=str(found),
                expected=f"a folder laid out as {self.cited}",
            )
        return found


def rows(path: Path) -> list[dict[str, Any]]:
    """Objects of .json lists, .jsonl, .jsonl.gz, .csv, .tsv. Raises DataError naming the file."""
    try:
        if path.suffix == ".tsv":  # GLUE's tables know no quotes
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
        if ".jsonl" in path.name:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        read = json.loads(text)
        return list(read if isinstance(read, list) else read["examples"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read {path}: {error}", field=str(path)) from None


def same_label(text: str) -> str:
    """Letters, labels and numbers compare without case and punctuation at their ends."""
    return label(text)


def by_letter(choices: Sequence[str]) -> str:
    """The choices, a line each with its letter."""
    return "\n".join(f"{LETTERS[n]}. {choice}" for n, choice in enumerate(choices))
