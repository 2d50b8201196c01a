"""The one door from `record.json` to a page: whatever is missing stops the page and is named.

Knows the record's schema. Deliberately knows no default: a page with a guessed number is worse
than no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from tutelage.config import validate
from tutelage.errors import ConfigError, GuardError
from tutelage.lifecycle.record import Candidate, CandidateDetail, Comparison, Measured, Record

Value = TypeVar("Value")


def checked(record: Mapping[str, Any]) -> Record:
    """The record as its schema. Raises GuardError naming the first key that is missing or wrong."""
    try:
        return validate(Record, record)
    except ConfigError as error:
        raise GuardError(
            f"the record cannot be shown: {error.message}",
            field=error.field,
            got=error.got,
            expected=error.expected,
            hint="record.json is written whole by `tutelage run`; run it again",
        ) from error


def at(values: Mapping[str, Value], key: str, where: str) -> Value:
    """`values[key]`. Raises GuardError naming `where.key`."""
    if key not in values:
        path = f"{where}.{key}"
        raise GuardError(
            f"the record cannot be shown: missing key {path!r}",
            field=path,
            expected="one of " + ", ".join(sorted(values)) if values else "a value",
        )
    return values[key]


def candidate(record: Record, name: str) -> Candidate:
    """The candidate of this name. Raises GuardError if the record has none."""
    return at({each.name: each for each in record.candidates}, name, "candidates")


def recommended(record: Record) -> Candidate | None:
    chosen = record.recommended
    return None if chosen is None else candidate(record, chosen.candidate)


def detail(record: Record, name: str) -> CandidateDetail:
    return at(record.detail.candidates, name, "detail.candidates")


def quality(record: Record, each: Candidate) -> tuple[Measured, str]:
    """The goal metric on test rows where it was scored there, else on development rows."""
    rows = "development" if each.test is None else "test"
    return at(getattr(each, rows), record.detail.metric, f"candidates.{each.name}.{rows}"), rows


def development(record: Record, each: Candidate) -> Measured | None:
    """The goal metric on development rows; None only where a candidate did not finish."""
    metric = record.detail.metric
    if each.status != "done" and metric not in each.development:
        return None
    return at(each.development, metric, f"candidates.{each.name}.development")


def against_zero_shot(record: Record, each: Candidate) -> Comparison | None:
    """The recorded comparison with a zero-shot candidate, of test rows where there is one."""
    plain = {other.name for other in record.candidates if other.rung == "zero-shot"}
    found = [comparison for comparison in each.comparisons if comparison.against in plain]
    return min(found, key=lambda comparison: comparison.rows != "test", default=None)


def licence(record: Record, model: str) -> str | None:
    return at(record.detail.licence, model, "detail.licence")


def seed(record: Record) -> Any:
    search = at(record.detail.project, "search", "detail.project")
    return at(search, "seed", "detail.project.search")
