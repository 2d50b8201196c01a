"""MATH: problems of competitions, with answers in TeX (Hendrycks et al. 2021, arXiv:2103.03874).

Slices by subject. Answers are compared as text in one form, by the authors' rules (`_math.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._math import same_tex, tex_answer
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.prompts.chain_of_thought import boxed

CITED = "github.com/hendrycks/math: test/SUBJECT/NUMBER.json; or the hub's MATH-500: test.jsonl"


def _part(*names: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, id, row in numbered(folder, names, CITED):
            problem, solution, answer, subject = checked("math", where, row, CITED, _read)
            yield Question(f"{subject}-{id}", problem, answer, source=subject, steps=solution)

    return found


def _read(row: dict[str, Any]) -> tuple[str, str, str, str]:
    answer = row.get("answer") or boxed(row["solution"])
    if not answer:
        raise ValueError("a solution without a boxed answer")
    return row["problem"], row["solution"], answer, row.get("subject") or row["type"]


def _files(split: str) -> tuple[str, ...]:
    return (f"{split}/*/*.json", *hub("*", split))


TASK = Task(
    "math",
    "answer",
    "math",
    _part(*_files("test")),
    CITED,
    examples=_part(*_files("train")),
    extract=tex_answer,
    form=same_tex,
    max_new_tokens=512,
    hub="hf:EleutherAI/hendrycks_math",
)
