"""Plain text: a document a file, a section, a paragraph, or a line.

A file that is one document is still not held in memory beyond MOST_BYTES: a longer one is cut at
the end of a line into parts, FILE, FILE#2, FILE#3 and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Literal

from tutelage.corpus.readers import Reader
from tutelage.data.files import Entry
from tutelage.data.files import Reader as Read
from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record

Unit = Literal["file", "section", "paragraph", "line"]
MOST_BYTES = 4 * 2**20
SECTION_BYTES = 8192
"""A section is whole lines of at least so many bytes: a few pages of a book."""
_MARK = b"\xef\xbb\xbf"


def reader_of(unit: Unit) -> Read:
    """How text files are read where a document is a `unit`."""

    def read(stream: BinaryIO, path: str, name: str) -> Iterator[Entry]:
        for number, (line, block) in enumerate(_blocks(stream, unit), 1):
            if unit == "file":
                identity = name if number == 1 else f"{name}#{number}"
            else:
                identity = f"{name}:{line}"
            yield _entry(block, f"{path}:{line}", identity, name)

    return read


def _entry(block: bytes, where: str, identity: str, name: str) -> Entry:
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        return SetAside(where, "bad-utf8", f"byte {error.start}: {error.reason}")
    return Record(where, identity, {"text": text, "source": name})


def _blocks(stream: BinaryIO, unit: Unit) -> Iterator[tuple[int, bytes]]:
    """The number of the first line of each document, and its bytes."""
    held: list[bytes] = []
    size, first = 0, 1
    for number, line in _lines(stream):
        blank = not line.strip()
        # A section ends behind the blank lines that follow it: what is between two is not lost.
        full = size >= MOST_BYTES or (unit == "section" and size >= SECTION_BYTES and not blank)
        if held and (full or unit == "line" or (unit == "paragraph" and blank)):
            yield first, b"".join(held)
            held, size = [], 0
        if blank and (not held or unit in ("paragraph", "line")):
            continue
        if not held:
            first = number
        held.append(line)
        size += len(line)
    if held:
        yield first, b"".join(held)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines by number from 1; one longer than the limit comes in pieces under its number."""
    number, begun, rest = 1, False, b""
    while line := rest + stream.readline(MOST_BYTES):
        if number == 1 and not begun:
            line = line.removeprefix(_MARK)
        line, rest = _whole_characters(line) if len(line) >= MOST_BYTES else (line, b"")
        yield number, line
        begun = not line.endswith(b"\n")
        number += not begun


def _whole_characters(piece: bytes) -> tuple[bytes, bytes]:
    """A piece of UTF-8 without a character that is cut in two at its end, and that beginning."""
    for back in range(1, 4):
        lead = piece[-back]
        if lead >= 0xC0:  # of a character of 2 bytes (110...), 3 (1110...) or 4 (11110...)
            length = 2 + (lead >= 0xE0) + (lead >= 0xF0)
            return (piece[:-back], piece[-back:]) if back < length else (piece, b"")
    return piece, b""


READER = Reader((".txt",), reader_of("file"))
