"""Walking a record: every key it has, copies without one, copies with one number changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def keys(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every key of every dict below `value`."""
    for key, below in _entries(value):
        if isinstance(value, dict):
            yield (*path, key)
        yield from keys(below, (*path, key))


def without(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy lacking one key."""
    damaged = copy.deepcopy(record)
    del at(damaged, path[:-1])[path[-1]]
    return damaged


def numbers(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every number below `value`."""
    for key, below in _entries(value):
        if isinstance(below, int | float) and not isinstance(below, bool):
            yield (*path, key)
        yield from numbers(below, (*path, key))


def with_other_number(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy with one number so different that no rounding hides it."""
    changed = copy.deepcopy(record)
    holder = at(changed, path[:-1])
    old = holder[path[-1]]
    holder[path[-1]] = old * 3 + 1_234_567 if isinstance(old, int) else 0.777 - old / 3
    return changed


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def at(value: Any, path: Path) -> Any:
    """What lies at the path."""
    for key in path:
        value = value[key]
    return value
