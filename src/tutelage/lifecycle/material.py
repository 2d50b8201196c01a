"""The rows of a project, made ready: loaded, split, checked for overlap, cut to what fits.

Knows how a task names its data and what must hold before anything is measured. Composes `data/`;
knows no model beyond a function that counts tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage import store
from tutelage.data.contamination import overlap
from tutelage.data.rows import Loaded, Row, SetAside, reasons, set_aside_long
from tutelage.data.split import Sizes, Splits, from_files, split
from tutelage.data.told import counted, listed
from tutelage.errors import ConfigError, DataError
from tutelage.lifecycle.project import Task

TEMPLATES = ("prompt", "completion")
Load = Callable[[str, str | None, str | None], Loaded]
"""Loads rows that have a prompt with an answer."""


@dataclass(frozen=True)
class Material:
    """The three parts, and what was set aside on the way to them."""

    source: str
    total: int
    train: tuple[Row, ...]
    development: tuple[Row, ...]
    test: tuple[Row, ...]
    set_aside: tuple[SetAside, ...]
    notes: tuple[str, ...]
    unused: int = 0
    """Usable rows beyond what the parts were asked to have."""

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.train, *self.development, *self.test)

    def digest(self) -> str:
        """Identity of the data: a hash of the rows themselves, whatever file they came from."""
        return store.digest([digest(part) for part in (self.train, self.development, self.test)])

    def reasons(self) -> dict[str, int]:
        """Why rows are in no part; with the parts they make up the total."""
        found = reasons(self.set_aside)
        return {**found, "unused": self.unused} if self.unused else found

    def described(self) -> dict[str, Any]:
        """The fields of `record.Data`."""
        return {
            "source": self.source,
            "rows_in": self.total,
            "rows_used": len(self.rows),
            "set_aside": self.reasons(),
            "set_aside_rows": listed(self.set_aside),
            "train": len(self.train),
            "development": len(self.development),
            "test": len(self.test),
            "contaminated": self.reasons().get("contaminated", 0),
            "notes": list(self.notes),
        }


def digest(rows: Sequence[Row]) -> str:
    return store.digest([row.as_json() for row in rows])


def prepare(task: Task, seed: int, load: Load) -> Material:
    """Load and split; remove test and development rows that training rows give away.

    Raises DataError for a part that ends up empty, with what became of the rows.
    """
    return _without_overlap(_loaded(task, seed, load))


def within(material: Material, lengths: Sequence[int], context: int | None) -> Material:
    """Set rows aside that do not fit the context; nothing is ever cut. `lengths` as `rows`."""
    if context is None:
        return material
    parts, aside, begin = [], list(material.set_aside), 0
    for rows in (material.train, material.development, material.test):
        kept, long = set_aside_long(rows, lengths[begin : begin + len(rows)], context)
        begin += len(rows)
        parts.append(kept)
        aside += long
    train, development, test = parts
    changed = replace(material, train=train, development=development, test=test)
    return _filled(replace(changed, set_aside=tuple(aside)))


def _loaded(task: Task, seed: int, load: Load) -> Material:
    names = ("data", "train", "development", "test")
    sources = {name: getattr(task, name) for name in names if getattr(task, name) is not None}
    try:
        loaded = {name: load(one, task.prompt, task.completion) for name, one in sources.items()}
    except ConfigError as error:  # of a template
        error.field = f"task.{error.field}" if error.field in TEMPLATES else error.field
        raise
    parts = _parted(task, loaded, seed)
    notes = [note for one in loaded.values() for note in one.notes]
    return Material(
        source=task.data or ", ".join(f"{name} {source}" for name, source in sources.items()),
        total=sum(one.total for one in loaded.values()),
        train=parts.train,
        development=parts.development,
        test=parts.test,
        set_aside=tuple(aside for one in loaded.values() for aside in one.set_aside),
        unused=parts.unused,
        notes=tuple(dict.fromkeys([*notes, *_unused(parts), *parts.notes])),
    )


def _parted(task: Task, loaded: Mapping[str, Loaded], seed: int) -> Splits:
    sizes = Sizes(task.rows.train, task.rows.development, task.rows.test)
    try:
        if task.data is not None:
            return split(loaded["data"].rows, sizes, seed, task.data)
        return from_files({name: one.rows for name, one in loaded.items()}, sizes, seed)
    except DataError as error:
        total = sum(one.total for one in loaded.values())
        aside = reasons(each for one in loaded.values() for each in one.set_aside)
        error.got = "; ".join(filter(None, [error.got, _became(total, aside)]))
        raise


def _unused(parts: Splits) -> list[str]:
    if not parts.unused:
        return []
    return [f"{parts.unused} usable rows were not needed for the parts asked for."]


def _without_overlap(material: Material) -> Material:
    test, contaminated = _parted_from_training(material.train, material.test, "contaminated")
    development, duplicates = _parted_from_training(
        material.train, material.development, "duplicate-of-training"
    )
    notes = list(material.notes)
    if duplicates:
        notes.append(
            f"{len(duplicates)} development rows stand in the training rows and were removed."
        )
    return _filled(
        replace(
            material,
            test=test,
            development=development,
            set_aside=(*material.set_aside, *contaminated, *duplicates),
            notes=tuple(notes),
        )
    )


def _parted_from_training(
    train: Sequence[Row], rows: Sequence[Row], reason: str
) -> tuple[tuple[Row, ...], tuple[SetAside, ...]]:
    """The rows that no training row gives away, and the others with the first one that does."""
    found = {pair.test_id: pair for pair in overlap(train, rows).pairs}
    places = {row.id: row.where for row in train}
    aside = [
        SetAside(row.where, reason, f"{found[row.id].kind}: {places[found[row.id].train_id]}")
        for row in rows
        if row.id in found
    ]
    return tuple(row for row in rows if row.id not in found), tuple(aside)


def _filled(material: Material) -> Material:
    for name in ("train", "development", "test"):
        if not getattr(material, name):
            raise DataError(
                f"no {name} rows are left",
                field=f"task.rows.{name}",
                got=_became(material.total, material.reasons()),
                expected="at least one row",
                hint=_last(material.set_aside),
            )
    return material


def _became(total: int, aside: Mapping[str, int]) -> str:
    """What became of the rows that were read."""
    return f"{total} rows read; set aside: {counted(aside)}"


def _last(aside: Sequence[SetAside]) -> str | None:
    """What was set aside last is what emptied the part."""
    return f"the last: {aside[-1].where}: {aside[-1].detail}" if aside else None
