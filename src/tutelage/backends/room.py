"""What fits a model: new tokens behind a prompt, and a text behind a prompt. The context is a limit
that is said; nothing is cut to it."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.checkpoints.reading import Reading
from tutelage.errors import RequestError

LONGEST = 8192
"""Tokens of a row in a shared batch, of a model that knows no limit itself."""


def behind(index: int, reading: Reading, used: int, wanted: int, *, shared: bool) -> int:
    """Of the new tokens that are wanted behind prompt number `index` of `used` tokens, those there
    is room for; `shared` is for a batch of many callers. Raises RequestError where no prompt of
    that length is read."""
    longest, free = reading.longest_prompt, reading.room(used)
    if used < 1 or (longest is not None and used > longest):
        raise RequestError(
            "the prompt does not fit the model's context" if used else "the prompt is empty",
            field=f"prompt {index}",
            got=f"{used} tokens",
            expected="1 or more" if longest is None else f"1 to {longest}",
            hint=taken(reading),
        )
    if shared and free is None:
        free = _in_a_shared_batch(index, reading, used)
    return wanted if free is None else min(wanted, free)


def _in_a_shared_batch(index: int, reading: Reading, used: int) -> int:
    read = len(reading.before) + used
    left = LONGEST - (read if reading.start is None else len(reading.begins) - 1)
    if left < 1 or read > LONGEST:
        raise RequestError(
            "the prompt does not fit the shared cache", field=f"prompt {index}",
            got=f"{used} tokens", expected=f"less than {LONGEST}",
        )  # fmt: skip
    return left


def check_both(index: int, reading: Reading, prompt: Sequence[int], text: Sequence[int]) -> None:
    """Raises RequestError for a prompt and a text behind it that the context does not hold."""
    over = reading.over(len(prompt), len(text))
    if over is not None:
        raise RequestError(
            "prompt and text do not fit the model's context",
            field=f"pair {index}",
            got=f"{over[0]} tokens",
            expected=f"at most {over[1]}",
            hint=taken(reading),
        )


def taken(reading: Reading) -> str | None:
    """Whether an adapter takes some of the context."""
    count = len(reading.virtual.ids)
    return (
        f"{count} virtual tokens of the adapter take their part of the context" if count else None
    )
