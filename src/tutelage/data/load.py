"""Rows from any source: files, folders, the hub, and the built-in sets.

Composes what the other files of this folder know: which files there are, how they become records,
how a record becomes a row, and what is set aside on the way. No row is lost: the total is the used
and the set aside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from tutelage.data.builtin import BUILTIN
from tutelage.data.files import data_files, read
from tutelage.data.rows import Loaded, Row, SetAside, reasons, refused, unanswered
from tutelage.data.shapes import Record, Templates, row_from
from tutelage.data.template import parse
from tutelage.data.told import counted
from tutelage.errors import DataError

Entry = Record | SetAside


def load(
    source: str,
    *,
    prompt: str | Sequence[str] | None = None,
    completion: str | None = None,
    answered: bool = False,
    strict: bool = False,
    seed: int = 0,
) -> Loaded:
    """Load the rows of `source` in their order.

    `prompt` and `completion` are templates over the fields of each row, for rows of other shapes
    than the contract's; of several for the prompt each row gets one, by `seed` and its id (as in
    FLAN, Wei et al. 2022, arXiv:2109.01652, section 2.1). With `answered` rows without a prompt and
    its answer are set aside, too. With `strict` the first row that would be set aside raises
    DataError.

    Raises DataError for a source that cannot be read or holds no usable row, ConfigError for a
    template that names a field no row has, UnknownName for an unknown built-in set.
    """
    answer = parse("completion", completion) if completion is not None else None
    prompts = [prompt] if prompt is None or isinstance(prompt, str) else list(prompt)
    each = [Templates(None if p is None else parse("prompt", p), answer) for p in prompts]
    entries, notes = _entries(source)
    entries = list(entries)
    for templates in each:
        _check_fields(templates, entries)
    rows, aside = [], []
    for outcome in _outcomes(entries, each, answered, seed):
        if isinstance(outcome, Row):
            rows.append(outcome)
            continue
        if strict:
            raise refused(outcome)
        aside.append(outcome)
    if not rows:
        raise _none_usable(source, aside)
    return Loaded(tuple(rows), tuple(aside), len(entries), tuple(notes))


def _entries(source: str) -> tuple[Iterable[Entry], list[str]]:
    scheme, _, rest = source.partition(":")
    if scheme == "builtin":
        built = BUILTIN.get(rest, field=source)()
        records = [Record(f"{source}:{n}", str(n), r) for n, r in enumerate(built.records, 1)]
        return records, list(built.notes)
    if scheme == "hf":
        from tutelage.data.hub import downloaded

        folder, note = downloaded(source)
        files, notes = data_files(str(folder))
        notes.insert(0, note)
    else:
        files, notes = data_files(source)
    return (entry for file in files for entry in read(file)), notes


def _outcomes(
    entries: Iterable[Entry], each: Sequence[Templates], answered: bool, seed: int
) -> Iterator[Row | SetAside]:
    """One outcome an entry; an id is taken by the first usable row that has it."""
    first: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, SetAside):
            outcome: Row | SetAside = entry
        else:
            outcome = row_from(entry, each[_drawn(len(each), f"{seed}:{entry.id}")])
        if isinstance(outcome, Row) and answered and not outcome.answered:
            outcome = unanswered(outcome)
        if isinstance(outcome, Row):
            taken = first.setdefault(outcome.id, outcome.where)
            if taken != outcome.where:
                detail = f"{outcome.id!r} is the id of {taken}"
                outcome = SetAside(outcome.where, "duplicate-id", detail)
        yield outcome


def _drawn(count: int, key: str) -> int:
    """One of so many, always the same for a key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % count


def _check_fields(templates: Templates, entries: list[Entry]) -> None:
    """A template field that no row at all has is a mistake in the template, not in the rows."""
    objects = [e.value for e in entries if isinstance(e, Record) and isinstance(e.value, dict)]
    if objects:
        known = {str(key) for value in objects for key in value}
        for one in templates.used:
            one.check(known)


def _none_usable(source: str, aside: list[SetAside]) -> DataError:
    counts = reasons(aside)
    shapes = {"unknown-shape", "missing-key", "no-answer"}
    return DataError(
        f"{source} holds no usable row",
        field=source,
        got=f"{len(aside)} rows, set aside: {counted(counts)}",
        expected="at least one row",
        hint=f"the first: {aside[0].where}: {aside[0].detail}"
        + ("; name fields in a prompt and a completion template" if shapes & set(counts) else ""),
    )
