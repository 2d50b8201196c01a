"""Answers held against all that are right: of several the one that what was said is nearest to.

SQuAD and DROP take the best over annotators; ReCoRD and MultiRC have several right answers of one
question. Pure text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tutelage.evaluate.benchmarks._task import LETTERS, Question, Task
from tutelage.score import METRICS
from tutelage.score.question_match import rows_by_question


def by_texts(
    task: Task, questions: Sequence[Question], said: Sequence[str], hits: np.ndarray
) -> dict[str, np.ndarray]:
    """Statistics of the task's metrics from the choices taken, each held against the accepted
    answer it is nearest to."""
    references = [nearest(q, text) for q, text in zip(questions, said, strict=True)]
    found = {}
    for name in task.metrics:
        if name == "question_match":
            found[name] = rows_by_question(hits, [q.source for q in questions])
        elif name == "accuracy":
            found[name] = np.column_stack([hits, np.ones(len(hits))])
        else:
            found[name] = METRICS.get(name).statistics(references, said)
    return found


def nearest(question: Question, said: str, form: Callable[[str], str] = str.strip) -> str:
    """Of the answers that are right the one that what was said is held against: an equal one, or
    that of the highest token F1."""
    if len(question.accepted) < 2:
        return question.answer
    for one in question.accepted:
        if form(one) == form(said):
            return one
    f1 = METRICS.get("f1").statistics(question.accepted, [said] * len(question.accepted))
    return question.accepted[int(f1[:, 0].argmax())]


def by_letters(
    task: Task, questions: Sequence[Question], letters: Sequence[str]
) -> dict[str, np.ndarray]:
    """The same from the letters that were named, "" for none."""
    places = [LETTERS.find(letter) if letter else -1 for letter in letters]
    said = [
        q.choices[place] if 0 <= place < len(q.choices) else ""
        for q, place in zip(questions, places, strict=True)
    ]
    hits = [place in q.rights for q, place in zip(questions, places, strict=True)]
    return by_texts(task, questions, said, np.array(hits, dtype=float))
