"""Multiple-choice sets as LLM-Adapters publishes them: prompts whose options are parsed back.

Hu et al. 2023, arXiv:2304.01933. An option is `Answer1: ...`, `Option1: ...` or `(A) ...`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import Question, Task, rows

CITED = "commonsense_mc of github.com/AGI-Edgerunners/LLM-Adapters: NAME_test.json"
_OPTION = re.compile(r"(?:Answer|Option|Solution|Ending)(\d+):\s*")


def choice_task(name: str, file: str, examples: str | None = None, pattern: Any = None) -> Task:
    """The task of `file`_test.json."""
    read = pattern or _numbered

    def questions(of: str) -> Callable[[Path], Iterator[Question]]:
        def found(folder: Path) -> Iterator[Question]:
            for number, row in enumerate(rows(folder / f"{of}.json")):
                text, choices, right = read(row)
                if not 0 <= right < len(choices):
                    raise DataError(
                        "no such choice", field=f"{folder / of}.json:{number}", got=row["answer"]
                    )
                yield Question(f"{of}-{number}", text, choices[right], choices)

        return found

    return Task(
        name,
        "choice",
        "commonsense_mc",
        questions(f"{file}_test"),
        CITED,
        examples=None if examples is None else questions(examples),
        metrics=("accuracy",),
    )


def _numbered(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Question, options and the right one's place of `... Answer1: a Answer2: b ...`."""
    text = row["instruction"].partition("Answer format:")[0]
    first = _OPTION.search(text)
    if first is None:
        raise DataError("no options in a question", field="instruction", got=text[:60])
    parts = _OPTION.split(text[first.start() :])[2::2]
    question = text[: first.start()].partition(":")[2].strip()
    return question, tuple(_once(part.strip() for part in parts)), int(row["answer"][-1]) - 1


def _once(parts: Iterator[str]) -> list[str]:
    """Options that stand twice are told apart by white space, so that each has a place."""
    found: list[str] = []
    for part in parts:
        while part in found:
            part += " "
        found.append(part)
    return found
