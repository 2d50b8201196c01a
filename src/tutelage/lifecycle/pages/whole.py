"""What must hold between the parts of a record, so that nothing can be missing from one unnoticed.

The schema holds each key against its type. Where keys are names (of candidates, metrics, reasons,
components) this file holds them against the other parts of the record that say which there must be,
or what they add up to. Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from tutelage.errors import GuardError
from tutelage.lifecycle.record import Candidate, Record, Training
from tutelage.peft import METHODS

HINT = "record.json is written whole by `tutelage run`; run it again"


def check(record: Record) -> None:
    """Raise GuardError naming the first part that is not as the others say."""
    detail = record.detail
    names = [each.name for each in record.candidates]
    _recommended(record, names)
    _keys(detail.candidates, names, "detail.candidates")
    _keys(detail.licence, [each.model for each in record.candidates], "detail.licence")
    _defaults_written_out(detail.project, "detail.project")
    for each in record.candidates:
        _metrics(each, [detail.metric, *detail.metrics])
    for name, more in detail.candidates.items():
        if more.training is not None:
            _training(more.training, f"detail.candidates.{name}.training")
    answered = [each.name for each in record.candidates if _measured(each)]
    for place, sample in enumerate(detail.samples):
        _keys(sample.answers, answered, f"detail.samples.{place}.answers")
    _sum(
        detail.data.set_aside.values(),
        detail.data.rows_in - detail.data.rows_used,
        "detail.data.set_aside",
        "detail.data.rows_in less rows_used",
    )


def _recommended(record: Record, names: list[str]) -> None:
    if record.recommended is None:
        return
    name, known = record.recommended.candidate, f"one of {', '.join(names)}"
    if name not in names:
        raise _wrong("recommended.candidate", "no such candidate", known, name)
    if record.model is None:
        raise _wrong("model", "no value", f"the folder in which {name} lies")


def _measured(each: Candidate) -> bool:
    """Whether it answered development rows; one that did not finish may have."""
    asked = each.seconds_per_1000_answers is not None
    return each.status == "done" or asked or bool(each.development)


def _metrics(each: Candidate, names: list[str]) -> None:
    if _measured(each):
        _keys(each.development, names, f"candidates.{each.name}.development")
    if each.test is not None:
        _keys(each.test, names, f"candidates.{each.name}.test")


def _training(training: Training, where: str) -> None:
    _defaults_written_out(training.settings, f"{where}.settings")
    options: list[str] = list(METHODS.get(training.method).settings.model_fields)
    _keys(training.settings.options, options, f"{where}.settings.options")
    parts = training.predicted_memory.values()
    total = training.predicted_peak_bytes
    _sum(parts, total, f"{where}.predicted_memory", f"{where}.predicted_peak_bytes")


def _defaults_written_out(part: BaseModel, where: str) -> None:
    """What a file may leave to a default a record says."""
    for name, value in part:
        if name not in part.model_fields_set:
            raise _wrong(f"{where}.{name}", "missing key", "a value")
        if isinstance(value, BaseModel):
            _defaults_written_out(value, f"{where}.{name}")


def _keys(found: Mapping[str, Any], wanted: Iterable[str], where: str) -> None:
    """The same names, in any order."""
    wanted = dict.fromkeys(wanted)
    for name in wanted:
        if name not in found:
            raise _wrong(f"{where}.{name}", "missing key", f"one of {', '.join(wanted)}")
    for name in found:
        if name not in wanted:
            raise _wrong(f"{where}.{name}", "unknown key", f"one of {', '.join(wanted)}")


def _sum(parts: Iterable[int], total: int, where: str, expected: str) -> None:
    found = sum(parts)
    if found != total:
        raise _wrong(where, "a wrong sum", f"{total}, {expected}", found)


def _wrong(path: str, what: str, expected: str, got: object = None) -> GuardError:
    return GuardError(
        f"the record cannot be shown: {what} {path!r}",
        field=path,
        got=got,
        expected=expected,
        hint=HINT,
    )
