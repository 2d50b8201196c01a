"""The ledger: numbers, formulas and claims of the field, each with what its sources say.

    for entry in entries(): print(judged(entry, answer))

An entry names the command, or the study, that answers it and where in the answer the number
stands; the verdict follows from comparing this number with each claimed one, it is not written
down. Only what nothing here can compute (`published`) states its verdict, with sources. What was
merely not run is told from what cannot be tested here. Knows data and arithmetic; running commands
is the caller's.
"""

from __future__ import annotations

import importlib.resources
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tutelage.errors import UnknownName, WorkError

Kind = Literal["formula", "measurement", "published"]
Verdict = Literal[
    "holds", "does not hold here", "sources disagree", "cannot tell", "not run",
    "not testable here",
]  # fmt: skip
FILES = ("formulas", "published", "measurements")

Number = float | str | None


@dataclass(frozen=True)
class Found:
    """A value, with the ends of its interval where it has one, and when and on what it was
    measured; "" for one that was computed just now."""

    value: Number
    when: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Claimed:
    """What one source says: a value to within a relative tolerance, or a range that may be open at
    one end, or a text."""

    source: str
    value: float | str | None = None
    within: float = 0.0
    low: float | None = None
    high: float | None = None

    def agrees(self, got: Found) -> bool | None:
        """None where an interval lies neither within what is claimed nor beside it."""
        if got.value is None or isinstance(got.value, str) or isinstance(self.value, str):
            return got.value == self.value
        least, most = self._range()
        low = got.value if got.low is None else got.low
        high = got.value if got.high is None else got.high
        if least <= low and high <= most:
            return True
        return False if high < least or most < low else None

    def _range(self) -> tuple[float, float]:
        if self.value is None or isinstance(self.value, str):
            low, high = self.low, self.high
            return -math.inf if low is None else low, math.inf if high is None else high
        off = (self.within + 1e-12) * abs(self.value)
        return self.value - off, self.value + off

    def said(self) -> Number:
        if self.value is not None:
            return self.value
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Entry:
    """One claim. `command` is a command line of tutelage and `path` a place in its object, as
    a.0.b; the value there is divided by that at `over` and multiplied by `times`. Commands of
    `before` are run first, in a folder that all of them call {folder}; with `against` the value is
    the ratio to the same place of another command's object. With `minus` it is the difference to
    that place instead, of `against` or of the same object: both are measured with intervals there.

    A `study` stands for the results that it left in `examples/` (FOLDER/NAME). A command without a
    path is a pattern for rows and models of one's own. `needs` says what of the package is not
    there yet; `verdict` is for `published` entries alone.
    A measurement that is `quick` is taken whenever it is asked for, another with `--run`;
    `recorded` is what it gave when it was last run, with the ends of its `interval` where it has
    one, `when` and on what.
    """

    id: str
    statement: str
    kind: Kind
    claimed: tuple[Claimed, ...] = ()
    command: str | None = None
    path: str | None = None
    over: str | None = None
    against: str | None = None
    minus: str | None = None
    study: str = ""
    before: tuple[str, ...] = ()
    times: float = 1.0
    note: str = ""
    needs: str = ""
    verdict: Verdict | None = None
    quick: bool = False
    recorded: float | None = None
    interval: tuple[float, float] | None = None
    when: str = ""
    sources: tuple[str, ...] = field(default=())

    @property
    def computed(self) -> bool:
        """Whether a command, or a study, answers it."""
        source = self.study or self.command
        return source is not None and self.path is not None and not self.needs


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


def found_in(
    entry: Entry, answer: Mapping[str, Any], against: Mapping[str, Any] | None = None
) -> Found:
    """The number, or text, or measured value, an entry points at in its command's object, over that
    of `against`, or less that at `minus`. Raises WorkError where it would be divided by nothing."""
    assert entry.path is not None
    got = _at(answer, entry.path)
    if entry.minus is not None:
        return difference(got, _at(answer if against is None else against, entry.minus))
    if isinstance(got, Mapping):
        return Found(got["value"], low=got["low"], high=got["high"])
    if not isinstance(got, int | float):
        return Found(None if got is None else str(got))
    under = 1.0 if entry.over is None else float(_at(answer, entry.over))
    if against is not None:
        under *= float(_at(against, entry.path))
    if under == 0:
        raise WorkError(
            f"{entry.id}: a ratio to 0 says nothing", field=entry.over or entry.path, got=0
        )
    exact = under == entry.times == 1 and against is None
    return Found(got if exact else got / under * entry.times)


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Found:
    """a - b of two measured values, with an interval from theirs:

        low  = a - b - sqrt((a - a_low)^2 + (b_high - b)^2)
        high = a - b + sqrt((a_high - a)^2 + (b - b_low)^2)

    for independent estimates (Zou and Donner 2008, Statistics in Medicine 27, p. 1693); of two that
    were measured on the same rows it is wider than need be.
    """
    a, b = one["value"], other["value"]
    below = math.hypot(a - one["low"], other["high"] - b)
    above = math.hypot(one["high"] - a, b - other["low"])
    return Found(a - b, low=a - b - below, high=a - b + above)


def verdict(entry: Entry, found: Found) -> Verdict:
    """What all sources say of what was found: agreement, none, or some; "cannot tell" where its
    interval leaves one of them open. A published claim has the verdict it states."""
    if entry.verdict is not None:
        return entry.verdict
    if entry.needs:
        return "not testable here"
    if found.value is None or not entry.claimed:
        return "not run"
    agree = [one.agrees(found) for one in entry.claimed]
    if None in agree:
        return "cannot tell"
    if all(agree):
        return "holds"
    return "sources disagree" if any(agree) else "does not hold here"


def judged(entry: Entry, found: Found | None) -> dict[str, Any]:
    """The contract's object of a claim; None where nothing was run: what is recorded stands."""
    found = found or Found(entry.recorded, entry.when, *(entry.interval or (None, None)))
    said = verdict(entry, found)
    note = f"needs {entry.needs}" if entry.needs else entry.note
    how = f"measured {found.when}" if found.when and found.value is not None else ""
    if said == "not run":
        how = f"would be run by: {_run_by(entry)}"
    return {
        "id": entry.id,
        "statement": entry.statement,
        "sources": [*entry.sources, *(one.source for one in entry.claimed)],
        "kind": entry.kind,
        "verdict": said,
        "value": found.value,
        "interval": None if found.low is None else [found.low, found.high],
        "expected": entry.claimed[0].said() if entry.claimed else None,
        "command": _commands(entry),
        "claimed": [{"source": one.source, "value": one.said()} for one in entry.claimed],
        "note": "; ".join(part for part in (note, how) if part),
    }


def _run_by(entry: Entry) -> str | None:
    """What a user types to have it run."""
    taken = entry.computed and not entry.study
    return f"tutelage claims {entry.id} --run" if taken else _commands(entry)


def _commands(entry: Entry) -> str | None:
    """All command lines of an entry, in their order."""
    if entry.study:
        folder, _, name = entry.study.partition("/")
        return f"python examples/{folder}/run.py --only {name}"
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
