"""The one door from `record.json` to a page: whatever is missing stops the page and is named.

Knows the record's schema. Deliberately knows no default: a page with a guessed number, or without
one that was measured, is worse than no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.config import validate
from tutelage.errors import GuardError, RequestError
from tutelage.lifecycle.pages import whole
from tutelage.lifecycle.record import Candidate, Comparison, Measured, Record
from tutelage.lifecycle.rungs import BASELINES


def checked(record: Mapping[str, Any]) -> Record:
    """The record as its schema, whole. Raises GuardError naming the first key that is missing or
    wrong."""
    try:
        found = validate(Record, record)
    except RequestError as error:
        raise GuardError(
            f"the record cannot be shown: {error.message}",
            field=error.field,
            got=error.got,
            expected=error.expected,
            hint=whole.HINT,
        ) from error
    whole.check(found)
    return found


def recommended(record: Record) -> Candidate | None:
    """The candidate that is recommended, if one is."""
    name = None if record.recommended is None else record.recommended.candidate
    return next((each for each in record.candidates if each.name == name), None)


def quality(record: Record, each: Candidate) -> tuple[Measured, str]:
    """The goal metric on test rows where it was scored there, else on development rows."""
    rows = "development" if each.test is None else "test"
    return getattr(each, rows)[record.detail.metric], rows


def development(record: Record, each: Candidate) -> Measured | None:
    """The goal metric on development rows; None where a candidate was not measured."""
    return each.development[record.detail.metric] if each.development else None


def against_baseline(record: Record, each: Candidate) -> Comparison | None:
    """The recorded comparison with a zero-shot candidate, of test rows where there is one; of a
    model that answers with a head alone that with the majority."""
    for baseline in reversed(BASELINES):
        plain = {other.name for other in record.candidates if other.rung == baseline}
        found = [comparison for comparison in each.comparisons if comparison.against in plain]
        if found:
            return min(found, key=lambda comparison: comparison.rows != "test")
    return None
