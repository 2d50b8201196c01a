"""Rows to what a head is trained on, and the labels that are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from tutelage.checkpoints.headed import Task
from tutelage.data.pack import Example
from tutelage.data.rows import Row, SetAside, refused, unanswered
from tutelage.heads import HEADS
from tutelage.heads._head import Head, Question, Unfit
from tutelage.heads.coder import Coder
from tutelage.text.plain_text import source


def task_for(name: str, rows: Sequence[Row]) -> Task:
    """The head with the labels of these rows. Raises UnknownName, and DataError where there is
    nothing to tell apart."""
    head: Head = HEADS.get(name, field="--head")
    answers = [(row.where, row.completion) for row in rows if row.completion is not None]
    return Task(name, head.labels(answers))


def question_of(row: Row) -> Question:
    """A row as a head gets it."""
    return Question(source(row.messages), row.completion, row.extra, row.weight, row.id)


def examples_of(
    rows: Sequence[Row], coder: Coder, task: Task, *, strict: bool = False
) -> tuple[list[Example], list[dict[str, str]]]:
    """The examples of all usable rows, and which were set aside and why. Raises DataError at the
    first of these if `strict`."""
    head: Head = HEADS.get(task.head)
    examples: list[Example] = []
    aside: list[dict[str, str]] = []
    for row in rows:
        fault = None if row.completion is not None and row.messages else unanswered(row)
        if fault is None:
            try:
                examples.append(head.read(coder, question_of(row), task.labels).example)
                continue
            except Unfit as unfit:
                fault = SetAside(row.where, unfit.reason, unfit.detail)
        if strict:
            raise refused(fault)
        aside.append(asdict(fault))
    return examples, aside
