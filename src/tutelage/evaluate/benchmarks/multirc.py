"""MultiRC of SuperGLUE: which of several answers to a question are right (Khashabi et al. 2018).

Wang et al. 2019, arXiv:1905.00537. Each answer is asked for by itself; F1 of yes over all answers,
and the share of questions with every answer judged right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered, place
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "SuperGLUE's MultiRC: val.jsonl, train.jsonl; or the hub's aps/super_glue"
Asked = tuple[str, str, str, Any, str]
"""Passage, question, answer, whether it is right, and a name of the question."""


def _part(*names: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, id, row in numbered(folder, names, CITED):
            for number, one in enumerate(checked("multirc", where, row, CITED, _asked)):
                passage, question, answer, label, name = one
                right = ("no", "yes")[place(label, ("false", "true"))]
                text = f"{passage.strip()}\n\n{question.strip()}\nIs this a right answer: {answer}"
                yield Question(f"{id}-{number}", text, right, ("no", "yes"), name)

    return found


def _asked(row: dict[str, Any]) -> list[Asked]:
    """A passage with its questions and answers as SuperGLUE has it, or one answer of the hub's."""
    if "paragraph" in row:
        at = row["idx"]
        name = f"{at['paragraph']}-{at['question']}"
        return [(row["paragraph"], row["question"], row["answer"], row["label"], name)]
    text, of = row["passage"]["text"], row["idx"]
    return [
        (text, question["question"], answer["text"], answer["label"], f"{of}-{number}")
        for number, question in enumerate(row["passage"]["questions"])
        for answer in question["answers"]
    ]


TASK = Task(
    "multirc",
    "choice",
    "multirc",
    _part("val.jsonl", *hub("multirc", "validation")),
    CITED,
    examples=_part("train.jsonl", *hub("multirc", "train")),
    metrics=("accuracy", "yes_f1", "question_match"),
    hub="hf:aps/super_glue/multirc",
)
