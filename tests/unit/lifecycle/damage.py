"""Walking a record: every key it has, copies without one, copies with one number changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

Path = tuple[str | int, ...]

OPTIONAL = (
    "candidates.*.development.[!r]*",  # metrics other than the goal's
    "candidates.*.development.rouge[!L]",
    "candidates.*.test.[!r]*",
    "candidates.*.test.rouge[!L]",
    "detail.project.*",  # shown as it is; the seed in it is looked up
    "detail.data.set_aside.*",
    "detail.data.set_aside_examples.*.*",
    "detail.candidates.*.training.settings.*",
    "detail.candidates.*.training.predicted_memory.*",
    "detail.candidates.*.tried.*.*",
    "detail.candidates.lora+few-shot",  # skipped: there may be nothing to say of it
    "detail.samples.*.answers.*",
)
"""Where the record holds free entries: a page shows those that are there."""


def keys(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every key of every dict below `value`."""
    for key, below in _entries(value):
        if isinstance(value, dict):
            yield (*path, key)
        yield from keys(below, (*path, key))


def needed(path: Path) -> bool:
    """Whether no page can be written without this key."""
    dotted = ".".join(map(str, path))
    if dotted in ("detail.project.search", "detail.project.search.seed"):
        return True
    own = [pattern for pattern in OPTIONAL if pattern.count(".") == dotted.count(".")]
    deep = dotted.startswith("detail.project.")
    return not deep and not any(fnmatchcase(dotted, pattern) for pattern in own)


def without(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy lacking one key."""
    damaged = copy.deepcopy(record)
    del _at(damaged, path[:-1])[path[-1]]
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
    holder = _at(changed, path[:-1])
    old = holder[path[-1]]
    holder[path[-1]] = old * 3 + 1_234_567 if isinstance(old, int) else 0.777 - old / 3
    return changed


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
