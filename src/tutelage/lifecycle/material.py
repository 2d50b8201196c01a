"""The rows of a project, made ready: loaded, split, checked for overlap, cut to what fits.

Knows how a task names its data and what must hold before anything is measured. Composes `data/`;
knows no model beyond a function that counts tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage import store
from tutelage.data.contamination import overlap
from tutelage.data.rows import Loaded, Row, SetAside, set_aside_long
from tutelage.data.split import Sizes, Splits, from_files, split
from tutelage.errors import DataError
from tutelage.lifecycle.project import Task

Load = Callable[[str, str | None, str | None], Loaded]
EXAMPLES_SHOWN = 20


@dataclass(frozen=True)
class Material:
    """The three parts, and what was set aside on the way to them."""

    source: str
    total: int
    train: tuple[Row, ...]
    development: tuple[Row, ...]
    test: tuple[Row, ...]
    set_aside: tuple[SetAside, ...]
    contaminated: int
    """Test rows that training rows gave away, removed."""
    notes: tuple[str, ...]
    duplicates: int = 0
    """Development rows likewise."""
    unused: int = 0
    """Usable rows beyond what the parts were asked to have."""

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.train, *self.development, *self.test)

    def digest(self) -> str:
        """Identity of the data: a hash of the rows themselves, whatever file they came from."""
        return store.digest([digest(part) for part in (self.train, self.development, self.test)])

    def reasons(self) -> dict[str, int]:
        """Why rows are in no part, most frequent first; with the parts they make up the total."""
        reasons = Counter(one.reason for one in self.set_aside)
        reasons["unused"] += self.unused
        reasons["contaminated"] += self.contaminated
        reasons["duplicate-of-training"] += self.duplicates
        return {reason: count for reason, count in reasons.most_common() if count}

    def described(self) -> dict[str, Any]:
        """The fields of `record.Data`."""
        shown = self.set_aside[:EXAMPLES_SHOWN]
        return {
            "source": self.source,
            "rows_in": self.total,
            "rows_used": len(self.rows),
            "set_aside": self.reasons(),
            "set_aside_examples": [
                {"where": one.where, "reason": one.reason, "detail": one.detail} for one in shown
            ],
            "train": len(self.train),
            "development": len(self.development),
            "test": len(self.test),
            "contaminated": self.contaminated,
            "notes": list(self.notes),
        }


def digest(rows: Sequence[Row]) -> str:
    return store.digest([row.as_json() for row in rows])


def prepare(task: Task, seed: int, load: Load) -> Material:
    """Load and split; remove test and development rows that training rows give away.

    Raises DataError for a part that ends up empty and for rows that have no answer to learn.
    """
    found = _loaded(task, seed, load)
    for row in found.rows:
        if row.completion is None or not row.messages:
            raise DataError(
                f"{row.where} has no prompt with an answer",
                field=row.where,
                expected="a prompt and a completion, messages, or a text with a label",
                hint="name fields with task.prompt and task.completion",
            )
    return _without_overlap(found)


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
    loaded = {name: load(one, task.prompt, task.completion) for name, one in sources.items()}
    sizes = Sizes(**task.rows.model_dump())
    if task.data is not None:
        parts = split(loaded["data"].rows, sizes, seed, task.data)
    else:
        parts = from_files({name: one.rows for name, one in loaded.items()}, sizes, seed)
    notes = [note for one in loaded.values() for note in one.notes]
    return Material(
        source=task.data or ", ".join(f"{name} {source}" for name, source in sources.items()),
        total=sum(one.total for one in loaded.values()),
        train=parts.train,
        development=parts.development,
        test=parts.test,
        set_aside=tuple(aside for one in loaded.values() for aside in one.set_aside),
        contaminated=0,
        unused=parts.unused,
        notes=tuple(dict.fromkeys([*notes, *_unused(parts), *parts.notes])),
    )


def _unused(parts: Splits) -> list[str]:
    if not parts.unused:
        return []
    return [f"{parts.unused} usable rows were not needed for the parts asked for."]


def _without_overlap(material: Material) -> Material:
    in_test = set(overlap(material.train, material.test).ids)
    in_development = set(overlap(material.train, material.development).ids)
    notes = list(material.notes)
    if in_development:
        notes.append(
            f"{len(in_development)} development rows stand in the training rows and were removed."
        )
    test = tuple(row for row in material.test if row.id not in in_test)
    development = tuple(row for row in material.development if row.id not in in_development)
    return _filled(
        replace(
            material,
            test=test,
            development=development,
            contaminated=len(material.test) - len(test),
            duplicates=len(material.development) - len(development),
            notes=tuple(notes),
        )
    )


def _filled(material: Material) -> Material:
    for name in ("train", "development", "test"):
        if not getattr(material, name):
            raise DataError(
                f"no {name} rows are left",
                field=f"task.rows.{name}",
                got=f"{material.contaminated} of them stood in the training rows"
                if name == "test" and material.contaminated
                else 0,
                expected="at least one row",
            )
    return material
