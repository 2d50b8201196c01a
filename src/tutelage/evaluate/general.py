"""What a model still can after it was tuned: accuracy on small general tasks, instructions done.

    kept_k = mean over rows of (right after) - mean over rows of (right before)      per task k

Choices are read by likelihood, after a plain prompt; instructions are put to the model as a user
puts them, answered greedily, and checked by a program. Asking (`asked`) and arithmetic (`kept`) are
apart, so that the base is asked once. Knows the seam alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.data.general import INSTRUCTIONS, Instruction, Question, instructions, questions
from tutelage.evaluate.choose import Choice, choose
from tutelage.evaluate.forgetting import fits
from tutelage.evaluate.statistics import compare, measured
from tutelage.lm import LM, Message, Request, complete
from tutelage.score._metric import mean

ANSWER_TOKENS = 24
ALL = "all"
Rows = dict[str, list[float | None]]
"""Of each task whether every row was right, 1 or 0; None where the model had no room for it."""


@dataclass(frozen=True)
class Exam:
    """What is asked."""

    questions: tuple[Question, ...]
    instructions: tuple[Instruction, ...]

    @property
    def description(self) -> str:
        """In words that a report can print."""
        tasks = ", ".join(dict.fromkeys(one.task for one in self.questions))
        told = f"{len(self.questions)} easy questions ({tasks})" if self.questions else ""
        done = f"{len(self.instructions)} instructions that a program checks"
        return " and ".join(filter(None, [told, done if self.instructions else ""]))


@functools.cache
def exam(each: int, instructed: int, seed: int = 0) -> Exam:
    """So many questions of each task, and so many instructions; 0 leaves them out."""
    return Exam(questions(each, seed), instructions(instructed, seed))


def asked(lm: LM, wanted: Exam) -> Rows:
    """Whether each row was right. Raises NotNumbersError where a likelihood is none."""
    found: Rows = {}
    for place, right in zip(wanted.questions, _chosen(lm, wanted.questions), strict=True):
        found.setdefault(place.task, []).append(right)
    if wanted.instructions:
        found[INSTRUCTIONS] = _done(lm, wanted.instructions)
    return found


def _chosen(lm: LM, rows: Sequence[Question]) -> list[float | None]:
    """A choice is scored as what follows the text behind a space."""
    choices = [
        Choice(one.text, tuple(f" {choice}" for choice in one.choices), one.right) for one in rows
    ]
    room = [fits(lm, one.text, 8) for one in rows]
    asked = [one for one, fit in zip(choices, room, strict=True) if fit]
    found = iter(choose(lm, asked).places if asked else ())
    return [
        float(next(found) == one.right) if fit else None
        for one, fit in zip(rows, room, strict=True)
    ]


def _done(lm: LM, rows: Sequence[Instruction]) -> list[float | None]:
    prompts = [(Message("user", one.text),) for one in rows]
    room = [fits(lm, prompt, ANSWER_TOKENS) for prompt in prompts]
    requests = [
        Request(prompt, ANSWER_TOKENS) for prompt, fit in zip(prompts, room, strict=True) if fit
    ]
    answers = iter(complete(lm, requests))
    return [
        float(one.done(next(answers).text)) if fit else None
        for one, fit in zip(rows, room, strict=True)
    ]


def kept(before: Rows, after: Rows, seed: int = 0) -> dict[str, Any]:
    """`{TASK: {"before", "after": measured, "difference", "low", "high"}}`, all questions
    together as "all"; on the rows that both models had room for, paired."""
    pairs = {task: _both(rows, after[task]) for task, rows in before.items()}
    questions = [pair for task, rows in pairs.items() if task != INSTRUCTIONS for pair in rows]
    told = ({ALL: questions} if questions else {}) | pairs
    return {task: _told(rows, seed) for task, rows in told.items() if rows}


def _both(
    before: Sequence[float | None], after: Sequence[float | None]
) -> list[tuple[float, float]]:
    return [
        (one, other)
        for one, other in zip(before, after, strict=True)
        if one is not None and other is not None
    ]


def _told(rows: Sequence[tuple[float, float]], seed: int) -> Mapping[str, Any]:
    first, last = (np.array([[pair[side], 1.0] for pair in rows]) for side in (0, 1))
    gap = compare(last, first, mean, seed)
    return {
        "before": dict(measured(first, mean, seed)),
        "after": dict(measured(last, mean, seed)),
        "difference": gap.difference, "low": gap.low, "high": gap.high,
    }  # fmt: skip
