"""How long work reports where it is: one callable, handed down, knowing nothing of terminals."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""`progress(what, done, total)`: units of `what` finished of `total` (None: unknown)."""


def silent(what: str, done: int, total: int | None) -> None:
    """The Progress that shows nothing."""
