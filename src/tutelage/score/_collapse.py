"""Whether one thing is answered whatever is asked, though what is right varies: so does a model
that tuning broke, and one whose head has learned no more than what is most frequent.

    collapse(["good"] * 8, ["good", "bad"] * 4)      Collapse("good", "rows", 8, 0.5)

Tags are looked at word by word, choices by their place, numbers by how little they vary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

FEWEST = 5
"""Rows; that fewer are answered alike says nothing."""
ALIKE = 0.01
"""Of the range of the right numbers: a model that stays within so much of it says one."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
View = tuple[str, list[str], list[str]]
"""What is counted, what was said of each, and what is right."""


@dataclass(frozen=True)
class Collapse:
    """`answer` was given to all `n` `of` what was asked, and is right for the share `right`; of
    numbers None."""

    answer: str
    of: str
    n: int
    right: float | None

    @property
    def warning(self) -> str:
        share = "" if self.right is None else f", which is right for {self.right:.1%}"
        return (
            f"{self.answer!r} is the answer to all {self.n:,} {self.of}{share}: the model does not "
            "tell them apart. Tuned with a lower --learning-rate, or for more --steps, it may"
        )

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "warning": self.warning}


def collapse(
    said: Sequence[str], right: Sequence[str], choices: Sequence[Sequence[str]] = ()
) -> Collapse | None:
    """Of answers and what is right, and where all are questions with `choices` these. None where
    answers differ, or what is right does not, or nothing is answered at all."""
    if len(said) < FEWEST:
        return None
    for of, answers, wanted in _views(said, right, choices):
        if len(set(answers)) == 1 and len(set(wanted)) > 1 and answers[0]:
            share = sum(one == answers[0] for one in wanted) / len(wanted)
            return Collapse(answers[0], of, len(wanted), share)
    return _one_number(said, right)


def _views(
    said: Sequence[str], right: Sequence[str], choices: Sequence[Sequence[str]]
) -> Iterator[View]:
    yield "rows", [one.strip() for one in said], [one.strip() for one in right]
    words, wanted = [one.split() for one in said], [one.split() for one in right]
    if all(len(one) == len(other) for one, other in zip(words, wanted, strict=True)):
        yield "words", [*chain.from_iterable(words)], [*chain.from_iterable(wanted)]
    if choices and all(choices):
        places = [_place(one, among) for one, among in zip(said, choices, strict=True)]
        others = [_place(one, among) for one, among in zip(right, choices, strict=True)]
        if all(places) and all(others):
            yield "questions", places, others


def _place(answer: str, choices: Sequence[str]) -> str:
    """The letter of a choice, by it or by the choice's words; "" for none of them."""
    plain = " ".join(answer.split())
    if plain in choices:
        return f"({LETTERS[choices.index(plain)]})"
    letter = plain.strip("()")
    return f"({letter})" if letter and letter in LETTERS[: len(choices)] else ""


def _one_number(said: Sequence[str], right: Sequence[str]) -> Collapse | None:
    try:
        numbers, wanted = [float(one) for one in said], [float(one) for one in right]
    except ValueError:
        return None
    far = max(wanted) - min(wanted)
    if far == 0 or max(numbers) - min(numbers) > ALIKE * far:
        return None
    return Collapse(f"{sum(numbers) / len(numbers):.3g}", "rows", len(numbers), None)
