"""The best answer without reading the question, from training rows: what heads must beat.

    labels, choices, spans   the most frequent answer
    tags                     the most frequent tag, for each word
    numbers                  the mean, which has the least squared error

Of equally frequent answers the first of the alphabet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import fmean

from tutelage.backends.constant import Constant
from tutelage.lifecycle.bench import Bench


def majority(bench: Bench) -> Constant:
    """Of the task's own training rows."""
    return constant(
        bench.project.tuning.head, [row.completion or "" for row in bench.material.train]
    )


def constant(head: str | None, answers: Iterable[str]) -> Constant:
    """Likewise of these answers; `head` None for answers in words. Of answers to a regression that
    are no numbers nothing is said here: tuning names them."""
    if head == "token-classification":
        return Constant(_commonest(tag for one in answers for tag in one.split()), each_word=True)
    answers = list(answers)
    if head == "regression":
        numbers = [found for one in answers if (found := _number(one)) is not None]
        return Constant(f"{fmean(numbers):g}" if numbers else "0")
    return Constant(_commonest(answers))


def _commonest(answers: Iterable[str]) -> str:
    counts = Counter(answers)
    return min(counts, key=lambda one: (-counts[one], one), default="")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
