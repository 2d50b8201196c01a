"""SHA-256 of weight files, remembered: hashing gigabytes at every start would be felt.

An entry holds while path, size and modification time are unchanged. A cache that cannot be read or
written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from tutelage import store
from tutelage.checkpoints.cache import default_cache
from tutelage.errors import TutelageError

WORTH_REMEMBERING = 8_000_000
"""Bytes; below, hashing is faster than looking it up."""


def file_hash(file: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    status = file.stat()
    if status.st_size < WORTH_REMEMBERING:
        return store.sha256(file)
    key = store.digest([str(file.resolve()), status.st_size, status.st_mtime_ns])
    entry = default_cache() / "hashes" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(entry.read_text(encoding="utf-8"))["sha256"]
        if isinstance(known, str) and len(known) == 64:
            return known
    found = store.sha256(file)
    with contextlib.suppress(OSError, TutelageError):
        store.write_json(entry, {"file": str(file), "sha256": found})
    return found
