"""What a head must offer: one HEAD in one file of this folder.

What it is called in files, and how many scores it has, stands in `models/headed.py`; here is what
it reads, what it learns and what it answers. A head answers in text, as a model that writes does:
a label, tags divided by spaces, a choice's words, words of the passage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from tutelage.data.pack import Example
from tutelage.errors import DataError
from tutelage.heads.coder import Coder
from tutelage.objectives.cross_entropy import LossSum


class Unfit(Exception):
    """Why a row cannot be read: one of `data.rows.REASONS`, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Question:
    """One row as a head gets it; `answer` None where it is asked, `extra` what the row has beside
    its text (`data.rows.Row`)."""

    text: str
    answer: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Read:
    """A question as tokens, and what turning scores into an answer needs to know of it."""

    example: Example
    keep: Any = None


@dataclass(frozen=True)
class Reply:
    """An answer as text, and how likely each of what could have been answered; the likelihoods sum
    to 1, and are {} where the answer is a number or many."""

    text: str
    likely: Mapping[str, float] = field(default_factory=dict)


def named(example: Example, known: tuple[str, ...], spell: Callable[[int], str]) -> tuple[str, ...]:
    """What a row teaches, for people: labels by name, numbers as they are."""
    labels = (known[int(one)] if known else f"{one:g}" for one in example.labels)
    return tuple(labels)


@dataclass(frozen=True)
class Head:
    """One head. `labels` are those of training rows, in the order of the scores; it raises
    DataError where there is nothing to tell apart. `read` raises Unfit. `loss` is over the vectors
    before the final norm of all places that a pack's rows name, with one label each. `reply` is
    given the scores of one row's places.
    """

    name: str
    metrics: tuple[str, ...]
    labels: Callable[[Sequence[tuple[str, str]]], tuple[str, ...]]
    read: Callable[[Coder, Question, tuple[str, ...]], Read]
    loss: Callable[..., LossSum]
    reply: Callable[[Float[Tensor, "M K"], Read, tuple[str, ...]], Reply]
    told: Callable[[Example, tuple[str, ...], Callable[[int], str]], tuple[str, ...]] = named
    """What a row teaches, in words, from its tokens."""
    batch_tokens: int | None = None
    """Of an update, where rows should be fewer than of answers in words."""
    unit: str = "nats per row"
    """Of the loss."""


def no_labels(answers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Of a head that has none."""
    return ()


def classes(found: Sequence[str], answers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """These labels; `answers` are (where, answer) of the rows. Raises DataError for one alone."""
    if len(found) < 2:
        where, answer = answers[0] if answers else ("data", "nothing")
        raise DataError(
            "all rows have one label: there is nothing to tell apart",
            field=where, got=f"{answer!r} in each of {len(answers)} rows",
            expected="two labels or more",
        )  # fmt: skip
    return tuple(found)


def place_of(label: str, labels: tuple[str, ...]) -> int:
    """Raises Unfit for a label that no training row had."""
    if label not in labels:
        shown = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
        raise Unfit("unknown-label", f"{label!r} is none of {shown}")
    return labels.index(label)
