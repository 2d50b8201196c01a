"""The ledger: numbers, formulas and claims of the field, each with what its sources say.

    for entry in entries(): print(judged(entry, answer))

An entry names the command that answers it and where in the answer the number stands; the verdict
follows from comparing this number with each claimed one, it is not written down. Only what nothing
here can compute (`published`) states its verdict, with sources. Knows data and arithmetic; running
commands is the caller's.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tutelage.errors import UnknownName

Kind = Literal["formula", "measurement", "published"]
Verdict = Literal["holds", "does not hold here", "sources disagree", "not testable here"]
FILES = ("formulas", "published", "measurements")

Number = float | str | None


@dataclass(frozen=True)
class Claimed:
    """What one source says: a value to within a relative tolerance, or a range, or a text."""

    source: str
    value: float | str | None = None
    within: float = 0.0
    low: float | None = None
    high: float | None = None

    def agrees(self, got: Number) -> bool:
        if got is None or isinstance(got, str) or isinstance(self.value, str):
            return got == self.value
        if self.low is not None and self.high is not None:
            return self.low <= got <= self.high
        assert self.value is not None
        return abs(got - self.value) <= self.within * abs(self.value) + 1e-12 * abs(self.value)

    def said(self) -> Number:
        if self.value is None and self.low is not None:
            return f"{self.low:g} to {self.high:g}"
        return self.value


@dataclass(frozen=True)
class Entry:
    """One claim. `command` is a command line of tutelage and `path` a place in its object, as
    a.0.b; the value there is divided by that at `over` and multiplied by `times`. Commands of
    `before` are run first, in a folder that all of them call {folder}; with `against` the value is
    the ratio to the same place of another command's object.

    `needs` says what of the package is not there yet; `verdict` is for `published` entries alone.
    A measurement that is `quick` is taken whenever it is asked for, another with `--run`;
    `recorded` is what it gave when it was last run, `when` and on what.
    """

    id: str
    statement: str
    kind: Kind
    claimed: tuple[Claimed, ...] = ()
    command: str | None = None
    path: str | None = None
    over: str | None = None
    against: str | None = None
    before: tuple[str, ...] = ()
    times: float = 1.0
    note: str = ""
    needs: str = ""
    verdict: Verdict | None = None
    quick: bool = False
    recorded: float | None = None
    when: str = ""
    sources: tuple[str, ...] = field(default=())

    @property
    def computed(self) -> bool:
        """Whether a command answers it."""
        return self.command is not None and self.path is not None and not self.needs


def entries() -> list[Entry]:
    """All of them, in the order of the files."""
    folder = importlib.resources.files("tutelage.claims")
    found = []
    for name in FILES:
        read = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
        found += [_entry(one, name) for one in read["claim"]]
    return found


def find(id: str) -> Entry:
    """Raises UnknownName with a suggestion."""
    known = {entry.id: entry for entry in entries()}
    if id not in known:
        raise UnknownName("claim", id, known, field="ID")
    return known[id]


def value_of(
    entry: Entry, answer: Mapping[str, Any], against: Mapping[str, Any] | None = None
) -> Number:
    """The number, or text, an entry points at in its command's object, over that of `against`."""
    assert entry.path is not None
    got = _at(answer, entry.path)
    if not isinstance(got, int | float):
        return None if got is None else str(got)
    under = 1.0 if entry.over is None else float(_at(answer, entry.over))
    if against is not None:
        under *= float(_at(against, entry.path))
    value = got / under * entry.times
    return got if under == entry.times == 1 and against is None else value


def verdict(entry: Entry, value: Number) -> Verdict:
    """What all sources say of the value: agreement, none, or some.

    Entries nothing answers here have the verdict they state, or "not testable here".
    """
    if value is None or not entry.claimed:
        return entry.verdict or "not testable here"
    agree = [one.agrees(value) for one in entry.claimed]
    if all(agree):
        return "holds"
    return "sources disagree" if any(agree) else "does not hold here"


@dataclass(frozen=True)
class Found:
    """A value, and when and on what it was measured; "" for one that was computed just now."""

    value: Number
    when: str = ""


def judged(entry: Entry, found: Found | None) -> dict[str, Any]:
    """The contract's object of a claim; None where nothing was run: what is recorded stands."""
    value, when = (entry.recorded, entry.when) if found is None else (found.value, found.when)
    note = f"needs {entry.needs}" if entry.needs else entry.note
    if value is None and entry.computed:
        how = f"not taken yet: tutelage claims {entry.id} --run"
    else:
        how = f"measured {when}" if when else ""
    note = "; ".join(part for part in (note, how) if part)
    first = entry.claimed[0].said() if entry.claimed else None
    return {
        "id": entry.id,
        "statement": entry.statement,
        "sources": [*entry.sources, *(one.source for one in entry.claimed)],
        "kind": entry.kind,
        "verdict": verdict(entry, value),
        "value": value,
        "expected": first,
        "command": _commands(entry),
        "claimed": [{"source": one.source, "value": one.said()} for one in entry.claimed],
        "note": note,
    }


def _commands(entry: Entry) -> str | None:
    """All command lines of an entry, in their order."""
    if entry.command is None:
        return None
    against = () if entry.against is None else (entry.against,)
    return " && ".join(f"tutelage {one}" for one in (*entry.before, entry.command, *against))


def _entry(read: Mapping[str, Any], file: str) -> Entry:
    kind = {"formulas": "formula", "measurements": "measurement"}.get(file, file)
    known = dict(read)
    claimed = tuple(Claimed(**one) for one in known.pop("claimed", ()))
    sources, before = (tuple(known.pop(name, ())) for name in ("sources", "before"))
    return Entry(**{"kind": kind, **known}, claimed=claimed, sources=sources, before=before)


def _at(answer: Any, path: str) -> Any:
    for part in path.split("."):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer
