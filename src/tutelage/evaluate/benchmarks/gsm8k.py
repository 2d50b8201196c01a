"""GSM8K: arithmetic of school in words (Cobbe et al. 2021, arXiv:2110.14168).

The answer is the number behind `####`; examples show the steps that the authors wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._numbers import last_number, same_number
from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _part(file: str, shown: bool) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for number, row in enumerate(rows(folder / file)):
            steps, _, answer = row["answer"].rpartition("####")
            said = f"{steps.strip()}\nThe answer is {answer.strip()}." if shown else answer.strip()
            yield Question(f"{file.partition('.')[0]}-{number}", row["question"], said)

    return found


TASK = Task(
    "gsm8k",
    "answer",
    "gsm8k",
    _part("test.jsonl", shown=False),
    "github.com/openai/grade-school-math: test.jsonl and train.jsonl.gz",
    examples=_part("train.jsonl.gz", shown=True),
    extract=last_number,
    form=same_number,
    max_new_tokens=256,
)
