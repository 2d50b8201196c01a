"""MMLU: 57 subjects, four choices (Hendrycks et al. 2021, arXiv:2009.03300).

Choices are listed with letters and a letter is scored, as the authors do; examples are of the
question's own subject. The authors publish one CSV a subject without a header, the answer a letter;
other copies have a header and its place; the hub has one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import apart, checked
from tutelage.evaluate.benchmarks._task import LETTERS, Question, Task

CITED = "github.com/hendrycks/test: dev/ and test/ with one CSV a subject"
COLUMNS = ("question", *(f"choice{n}" for n in range(4)), "answer")


def _part(name: str) -> Callable[[Path], Iterator[Question]]:
    names = (f"{name}/*.csv", *hub("all", name))

    def found(folder: Path) -> Iterator[Question]:
        headed = 0
        for where, id, row in numbered(folder, names, CITED, COLUMNS):
            subject, _, number = id.rpartition("-")
            if row.get("choice0") == "choice0":
                headed = 1
                continue
            at = int(number) - headed
            text, choices, right, said = checked("mmlu", where, row, CITED, _read)
            subject = said or subject.removesuffix(f"_{name}")
            told = apart(choices)
            yield Question(f"{subject}-{name}-{at}", text, told[right], told, subject)

    return found


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int, str | None]:
    choices = row["choices"] if "choices" in row else [row[f"choice{n}"] for n in range(4)]
    answer = str(row["answer"]).strip()
    right = LETTERS.index(answer) if answer in LETTERS[:4] else int(answer)
    return row["question"], tuple(map(str, choices)), right, row.get("subject")


TASK = Task(
    "mmlu",
    "choice",
    "mmlu",
    _part("test"),
    CITED,
    examples=_part("dev"),
    metrics=("accuracy",),
    letters=True,
    same_source=True,
    hub="hf:cais/mmlu/all",
)
