"""Every error Tutelage raises on purpose, and the exit code it becomes.

    TutelageError
    |-- RequestError          exit 2   the request or its input is at fault
    |   |-- ConfigError                a key, flag or setting
    |   |-- DataError                  a data file or row
    |   |-- SourceError                a model source that cannot be opened
    |   `-- UnknownName                a registry has no such entry
    |-- WorkError             exit 1   the work failed
    |   |-- GuardError                 a check came out negative and refused to go on
    |   |-- DamagedError               a file on disk is not what was written
    |   |-- NotNumbersError            a model's scores are no numbers
    |   `-- MemoryLimitError           the work does not fit
    |-- BusyError             exit 3   another process holds the folder
    `-- Interrupted           exit 130 stopped by the user; the same command goes on

An error teaches: what happened, in which field or file, what was got, what is expected, what to do.
Knows nothing of how errors are shown: `cli/` prints them, `serve/` answers with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(Exception):
    """Base of all errors raised on purpose.

    `field` is the key, flag, file or file:line at fault; `got` and `expected` are short texts.
    """

    exit_code = 1
    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.got = None if got is None else str(got)
        self.expected = None if expected is None else str(expected)
        self.hint = hint

    def as_json(self) -> dict[str, str | None]:
        """The error as the contract's `{"kind", "message", "field", "got", "expected", "hint"}`."""
        return {
            "kind": self.kind,
            "message": self.message,
            "field": self.field,
            "got": self.got,
            "expected": self.expected,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        lines = [self.message]
        for name in ("field", "got", "expected", "hint"):
            value = getattr(self, name)
            if value is not None:
                lines.append(f"  {name}: {value}")
        return "\n".join(lines)


class RequestError(TutelageError):
    exit_code = 2
    kind = "request"


class ConfigError(RequestError):
    kind = "config"


class DataError(RequestError):
    kind = "data"


class SourceError(RequestError):
    kind = "source"


class UnknownName(RequestError):
    """A name no registry holds; says which names exist and which one was probably meant."""

    kind = "unknown-name"

    def __init__(self, what: str, got: str, known: Iterable[str], field: str | None = None) -> None:
        known = sorted(known)
        super().__init__(
            f"unknown {what} {got!r}",
            field=field or what,
            got=got,
            expected="one of " + ", ".join(known),
            hint=did_you_mean(got, known),
        )


class WorkError(TutelageError):
    kind = "work"


class GuardError(WorkError):
    kind = "guard"


class DamagedError(WorkError):
    kind = "damaged"


class NotNumbersError(WorkError):
    """A model computes what is no number. Where models are measured it is the model that is at
    fault, and the request that names it; where one is served or tuned, the work."""


class MemoryLimitError(WorkError):
    kind = "memory"


class BusyError(TutelageError):
    exit_code = 3
    kind = "busy"


class Interrupted(TutelageError):
    exit_code = 130
    kind = "interrupted"


def did_you_mean(got: str, known: Iterable[str]) -> str | None:
    """The closest known name as a question, or None if nothing is close."""
    close = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None
