"""A guard: the pain it is against, what would bring the pain on, and how the guard is taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tutelage.errors import TutelageError

Patch = pytest.MonkeyPatch
Value = TypeVar("Value")
Ways = Iterator[str | None]
"""For each way in which a pain comes, the harm that it did, measured; None where it did none."""


@dataclass(frozen=True)
class Guard:
    """`pain` is its number in the list of pains in the project's research. `ways` knows nothing of
    the guard, and `off` takes the whole of it out."""

    pain: int
    ways: Callable[[Path, Patch], Ways]
    off: Callable[[Patch], None]


def unless_refused(error: type[TutelageError], do: Callable[[], Value]) -> Value | None:
    """What comes of it, and None where it was refused."""
    try:
        return do()
    except error:
        return None
