"""Rows into training, development and test rows, so that no source stands in two parts.

A source (a document, a module) goes to one part as a whole; a row without source is a source of its
own. The order of sources comes from a hash of the seed and the name, so it depends neither on the
order of rows nor on what other sources there are. Where a part has more rows than asked for, rows
are taken from its sources in turn, so that one huge source does not crowd out the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.data.rows import Row
from tutelage.errors import DataError

Placed = tuple[int, Row]
"""A row and its place among all rows."""

PARTS = ("train", "development", "test")
DEFAULT_SHARE = {"development": 0.1, "test": 0.2}
DEFAULT_MOST = {"development": 100, "test": 200}


@dataclass(frozen=True)
class Sizes:
    """Rows asked for, as upper bounds. None: for development and test a tenth and a fifth of the
    rows, at most 100 and 200; for training all that remain. 0 leaves a part out."""

    train: int | None = None
    development: int | None = None
    test: int | None = None

    def resolved(self, rows: int) -> dict[str, int]:
        """The rows each part shall have of `rows`; less for each in proportion if too few."""
        asked = {name: self._asked(name, rows) for name in ("development", "test")}
        rest = rows - sum(asked.values())
        asked["train"] = max(rest, 1) if self.train is None else self.train
        shrink = min(1.0, rows / max(1, sum(asked.values())))
        return {name: max(1, int(asked[name] * shrink)) if asked[name] else 0 for name in PARTS}

    def _asked(self, name: str, rows: int) -> int:
        given = getattr(self, name)
        if given is not None:
            return int(given)
        return max(1, min(DEFAULT_MOST[name], int(rows * DEFAULT_SHARE[name])))


@dataclass(frozen=True)
class Splits:
    """The parts, each in the order in which its rows were loaded; `unused` rows were not needed."""

    train: tuple[Row, ...]
    development: tuple[Row, ...]
    test: tuple[Row, ...]
    unused: int = 0
    notes: tuple[str, ...] = ()


def split(rows: Sequence[Row], sizes: Sizes, seed: int, name: str = "data") -> Splits:
    """Part `rows` by their sources. `name` is the data's name, for messages.

    Raises DataError where a part that is asked for would be empty: no rows, fewer sources than
    parts, or rows of one source alone.
    """
    needed = sizes.resolved(len(rows))
    groups = _by_source(rows)
    wanted = [part for part in PARTS if needed[part]]
    _check(rows, groups, wanted, name)
    assigned = _assign(groups, needed, seed)
    parts = {
        part: _cut([groups[key] for key in assigned[part]], needed[part], seed) for part in PARTS
    }
    unused = len(rows) - sum(len(part) for part in parts.values())
    return Splits(**parts, unused=unused, notes=_short_notes(sizes, parts))


def from_files(parts: Mapping[str, Sequence[Row]], sizes: Sizes, seed: int) -> Splits:
    """Parts from files of their own; those that have none are split off the training rows.

    `parts` holds "train" and any of "development" and "test". A file with more rows than asked for
    is cut as in `split`. Raises DataError for an empty part or an unknown name.
    """
    _check_names(parts)
    given = {
        part: _limited(rows, getattr(sizes, part), seed)
        for part, rows in parts.items()
        if part != "train"
    }
    rest = Sizes(sizes.train, *(0 if p in given else getattr(sizes, p) for p in PARTS[1:]))
    made = split(parts["train"], rest, seed, "train")
    found = {"train": made.train, "development": made.development, "test": made.test} | given
    unused = sum(len(part) for part in parts.values()) - sum(len(part) for part in found.values())
    notes = (*_short_notes(sizes, found), *_shared_sources(found))
    return Splits(**found, unused=unused, notes=notes)


def _check_names(parts: Mapping[str, Sequence[Row]]) -> None:
    for part, rows in parts.items():
        if part not in PARTS:
            raise DataError(f"no such part: {part!r}", field=part, expected=", ".join(PARTS))
        if not rows:
            raise DataError(f"the {part} part is empty", field=part, expected="at least one row")
    if "train" not in parts:
        raise DataError("no training rows", field="train", expected="a file with rows")


def _check(
    rows: Sequence[Row], groups: Mapping[str, list[Placed]], wanted: list[str], name: str
) -> None:
    if not wanted:
        raise DataError(f"no part of {name} asks for rows", field="rows", expected="at least 1")
    if len(groups) >= len(wanted):
        return
    known = sorted({row.source for row in rows if row.source is not None})
    listed = f", all of {', '.join(map(repr, known[:5]))}" if known else ""
    dropped = "drop their `source`, " if known else ""
    why = "a source stands in one part alone" if known else "there are too few rows"
    raise DataError(
        f"{name} cannot be split into {', '.join(wanted)}: {why}",
        field=name,
        got=f"{len(rows)} rows{listed}",
        expected=f"rows of at least {len(wanted)} sources" if known else f"{len(wanted)} rows",
        hint=f"give more rows, {dropped}or name a file for each part",
    )


def _by_source(rows: Sequence[Row]) -> dict[str, list[Placed]]:
    groups: dict[str, list[Placed]] = {}
    for place, row in enumerate(rows):
        key = f"row\x1f{row.id}" if row.source is None else f"source\x1f{row.source}"
        groups.setdefault(key, []).append((place, row))
    return groups


def _assign(
    groups: Mapping[str, list[Placed]], needed: Mapping[str, int], seed: int
) -> dict[str, list[str]]:
    """Each source to the part that is furthest from its share of all rows and has room for it.

    A source that fits nowhere goes to the part with the most room. Before a part gets more than
    one source each has one, the smaller parts first, so none stays empty.
    """
    total = sum(len(group) for group in groups.values())
    scale = total / sum(needed.values())
    room = {part: count * scale for part, count in needed.items() if count}
    share = dict(room)
    assigned: dict[str, list[str]] = {part: [] for part in PARTS}
    order = sorted(groups, key=lambda key: _hash(seed, key))
    for number, key in enumerate(order):
        size = len(groups[key])
        empty = [part for part in room if not assigned[part]]
        open_parts = list(room)
        if empty and len(order) - number <= len(empty):
            open_parts = empty  # just as many sources left as parts without one
        fitting = [part for part in open_parts if size <= room[part] + 0.5]
        if fitting:
            chosen = max(fitting, key=lambda part: room[part] / share[part])
        else:
            chosen = max(open_parts, key=room.__getitem__)
        assigned[chosen].append(key)
        room[chosen] -= size
    return assigned


def _cut(groups: Sequence[Sequence[Placed]], most: int, seed: int) -> tuple[Row, ...]:
    """At most `most` rows, the first of each source, then the second of each, and so on; in the
    order in which they were loaded."""
    turns = [
        (turn, number, place, row)
        for number, group in enumerate(groups)
        for turn, (place, row) in enumerate(sorted(group, key=lambda p: _hash(seed, p[1].id)))
    ]
    taken = sorted(turns, key=lambda item: item[:2])[:most]
    return tuple(row for _, _, _, row in sorted(taken, key=lambda item: item[2]))


def _limited(rows: Sequence[Row], most: int | None, seed: int) -> tuple[Row, ...]:
    groups = _by_source(rows)
    order = sorted(groups, key=lambda key: _hash(seed, key))
    return _cut([groups[key] for key in order], len(rows) if most is None else most, seed)


def _short_notes(sizes: Sizes, parts: Mapping[str, Sequence[Row]]) -> tuple[str, ...]:
    short = [
        f"{len(parts[part])} {part} rows instead of {getattr(sizes, part)}"
        for part in PARTS
        if getattr(sizes, part) is not None and len(parts[part]) < getattr(sizes, part)
    ]
    return (f"The data gave fewer rows than asked for: {'; '.join(short)}.",) if short else ()


def _shared_sources(parts: Mapping[str, Sequence[Row]]) -> tuple[str, ...]:
    """The user's own files may share sources: said, not changed."""
    sources = {p: {row.source for row in rows} - {None} for p, rows in parts.items()}
    notes = []
    for part in ("development", "test"):
        both = sorted(str(source) for source in sources["train"] & sources[part])
        if both:
            listed = ", ".join(both[:5])
            notes.append(f"{len(both)} sources stand in both train and {part}: {listed}.")
    return tuple(notes)


def _hash(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}\x1f{key}".encode()).hexdigest()
