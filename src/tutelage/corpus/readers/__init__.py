"""File formats of a corpus, one file each: the entry is a `Reader`.

    READER = Reader((".jsonl",), read_jsonl)

A reader takes the open file (decompressed), its path for messages and its short name for ids, and
yields records or what it sets aside, one after another: no file is held in memory whole, except the
JSON list, which has no lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.data.files import Reader as Read
from tutelage.registry import Registry

FORMATS = Registry("tutelage.corpus.readers", "corpus format", "READER")


@dataclass(frozen=True)
class Reader:
    """How files that end in one of `suffixes` (before `.gz`) are read."""

    suffixes: tuple[str, ...]
    read: Read


def by_suffix() -> dict[str, Read]:
    """Suffix -> how to read such a file."""
    readers = [FORMATS.get(name) for name in FORMATS.names()]
    return {suffix: reader.read for reader in readers for suffix in reader.suffixes}
