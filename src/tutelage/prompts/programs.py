"""Programs asked for and found in what a model said.

A model without a chat template goes on where the function's head ends; one with a template writes
the whole function. Program-aided answers (PAL, Gao et al. 2023, arXiv:2211.10435): the model writes
a program, and what this prints is the answer. Pure text; nothing is run here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tutelage.lm import Message

STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint", "\nassert ")
"""Where a function's body has ended (Chen et al. 2021, section 2.1, and `assert`)."""
_FENCED = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
_OWN_LINE = re.compile(r"\n(?=[^\s)\]}])")

AIDED = "Write a Python program that computes the answer and prints it. Write the program alone."
AIDED_EXAMPLES = (
    (
        "Anna has 3 boxes of 12 eggs and breaks 5 eggs. How many whole eggs has she?",
        "eggs = 3 * 12\nbroken = 5\nprint(eggs - broken)",
    ),
    (
        "A train goes 60 miles an hour for 2.5 hours, then 30 miles more. How far does it go?",
        "first = 60 * 2.5\nprint(first + 30)",
    ),
    (
        "Ben earns $15 an hour, works 8 hours a day for 5 days and pays a fifth in tax. "
        "How much does he keep?",
        "earned = 15 * 8 * 5\ntax = earned / 5\nprint(earned - tax)",
    ),
)


def function_asked(head: str) -> tuple[Message, ...]:
    """The head of a function, to be written whole."""
    return (
        Message(
            "user",
            "Complete this Python function. Answer with the whole function in one code block.\n\n"
            f"```python\n{head.strip()}\n```",
        ),
    )


def function_found(said: str, head: str, name: str, *, whole: bool) -> str | None:
    """A program with the function in it; None where nothing was said.

    `whole` answers are a code block, or all of the text; if they hold `def name` they replace the
    head from there on, and otherwise they follow it as a body does.
    """
    if not said.strip():
        return None
    blocks = _FENCED.findall(said) if whole else []
    defined = re.compile(rf"^def\s+{re.escape(name)}\b", re.MULTILINE)
    code = next((block for block in blocks if defined.search(block)), "".join(blocks[:1]) or said)
    if whole and defined.search(code):
        first = defined.search(head)
        return (head[: first.start()] if first else "") + code
    return head + _OWN_LINE.split(code, maxsplit=1)[0]


def program_asked(messages: Sequence[Message], shots: int) -> tuple[Message, ...]:
    """The last question, with so many solved ones before it, to be answered by a program."""
    *before, last = messages
    shown = [
        turn
        for question, program in AIDED_EXAMPLES[:shots]
        for turn in (
            Message("user", f"{question}\n\n{AIDED}"),
            Message("assistant", f"```python\n{program}\n```"),
        )
    ]
    return (*before, *shown, Message(last.role, f"{last.content}\n\n{AIDED}"))


def program_found(said: str) -> str | None:
    """The first code block, or all of the text."""
    blocks = _FENCED.findall(said)
    code = blocks[0] if blocks else said
    return str(code).strip() or None
