"""MMLU: 57 subjects, four choices (Hendrycks et al. 2021, arXiv:2009.03300).

Choices are listed with letters and a letter is scored, as the authors do; examples are of the
question's own subject. One CSV a subject, the answer its index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _part(name: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for file in sorted((folder / name).glob("*.csv")):
            subject = file.stem.removesuffix(f"_{name}")
            for number, row in enumerate(rows(file)):
                choices = tuple(f"{row[f'choice{n}']}" for n in range(4))
                # Some choices stand twice; places tell them apart.
                told = tuple(
                    c if choices.index(c) == n else f"{c}{' ' * n}" for n, c in enumerate(choices)
                )
                id = f"{subject}-{name}-{number}"
                yield Question(id, row["question"], told[int(row["answer"])], told, subject)

    return found


TASK = Task(
    "mmlu",
    "choice",
    "mmlu",
    _part("test"),
    "github.com/hendrycks/test: dev/ and test/ with one CSV a subject",
    examples=_part("dev"),
    metrics=("accuracy",),
    letters=True,
    same_source=True,
)
