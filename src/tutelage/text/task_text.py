"""How a question with choices, or about a passage, is written as one text, and read back from it.

    Where does a fish live?      (A) in a tree       When was it built?
    (A) in a tree                                    (blank line)
    (B) in water                                     The tower was built in 1889 ...

The one place of these forms: rows become text through it, and heads read text through it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BETWEEN = "\n\n"
_CHOICE = re.compile(r"^\(([A-Z])\) (.*)$")


def with_choices(question: str, choices: Sequence[str]) -> str:
    """The question, and every choice on a line of its own behind its letter."""
    lines = [f"({letter}) {_line(one)}" for letter, one in zip(LETTERS, choices, strict=False)]
    return "\n".join([question, *lines])


def choices_in(text: str) -> tuple[str, tuple[str, ...]]:
    """The question and its choices, none of them where the text does not end in such lines."""
    lines = text.rstrip("\n").split("\n")
    found: list[str] = []
    while len(lines) > 1 and (match := _CHOICE.match(lines[-1])):
        found.insert(0, match[2])
        letter = match[1]
        lines.pop()
        if letter == LETTERS[0]:
            return "\n".join(lines), tuple(found)
    return text, ()


def about(question: str, context: str) -> str:
    """The question on the first line, then the passage."""
    return f"{_line(question)}{BETWEEN}{context}"


def passage_in(text: str) -> tuple[str, str]:
    """The question and the passage; no passage where there is no blank line."""
    question, _, context = text.partition(BETWEEN)
    return question, context


def _line(text: str) -> str:
    return " ".join(text.split())
