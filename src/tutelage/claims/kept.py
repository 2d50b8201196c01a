"""What measurements of the ledger gave on this machine, each with its record, in the cache folder.

A result belongs to an entry's command lines and the commit of the package that ran them; losing it
loses nothing but the minutes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.checkpoints.cache import default_cache
from tutelage.claims.entries import Entry, Found
from tutelage.errors import TutelageError
from tutelage.machine.describe import commit, package_version, processor


def kept(entry: Entry, *, of_this_code: bool = False) -> Found | None:
    """The last result of an entry, of whatever commit or of this one alone."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        read: dict[str, Any] = json.loads(_file(entry).read_text(encoding="utf-8"))
        if not of_this_code or (read["commit"] == commit() and read["commit"] is not None):
            return Found(read["value"], _when(read), read.get("low"), read.get("high"))
    return None


def keep(entry: Entry, found: Found) -> Found:
    """Store a result with its record. A disk that takes nothing is no fault of it."""
    record = {
        "id": entry.id, "value": found.value, "low": found.low, "high": found.high,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(), "commit": commit(), "torch": package_version("torch"),
        "tutelage": package_version("tutelage"),
    }  # fmt: skip
    with suppress(OSError, TutelageError):
        _file(entry).parent.mkdir(parents=True, exist_ok=True)
        store.write_json(_file(entry), record)
    return replace(found, when=_when(record))


def _file(entry: Entry) -> Path:
    asked = [entry.before, entry.command, entry.against, entry.path, entry.over, entry.times]
    lines = [*asked, entry.minus]
    return default_cache() / "claims" / f"{entry.id}-{store.digest(lines)[:16]}.json"


def _when(record: dict[str, Any]) -> str:
    return f"{record['date']} on {record['processor']}, commit {(record['commit'] or '?')[:8]}"
