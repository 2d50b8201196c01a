"""GSM8K: arithmetic of school in words (Cobbe et al. 2021, arXiv:2110.14168).

The answer is the number behind `####`; examples show the steps that the authors wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._numbers import last_number, same_number
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/openai/grade-school-math: test.jsonl and train.jsonl.gz"


def _part(split: str, *names: str, shown: bool) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for number, (where, _, row) in enumerate(numbered(folder, names, CITED)):
            asked, steps, answer = checked("gsm8k", where, row, CITED, _read)
            said = f"{steps}\nThe answer is {answer}." if shown else answer
            yield Question(f"{split}-{number}", asked, said)

    return found


def _read(row: dict[str, Any]) -> tuple[str, str, str]:
    steps, _, answer = row["answer"].rpartition("####")
    return row["question"], steps.strip(), answer.strip()


TASK = Task(
    "gsm8k",
    "answer",
    "gsm8k",
    _part("test", "test.jsonl", *hub("main", "test"), shown=False),
    CITED,
    examples=_part("train", "train.jsonl.gz", "train.jsonl", *hub("main", "train"), shown=True),
    extract=last_number,
    form=same_number,
    max_new_tokens=256,
    hub="hf:openai/gsm8k/main",
)
