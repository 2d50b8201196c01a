"""Where a corpus comes from: files, folders, `hf:` data sets and `builtin:` sets, as a stream.

    for one in open_source("crawl/", unit="file"):     # a Document, or a row set aside
        ...

A source can be read again from its beginning, always in the same order. `identity` says what would
be read, so that interrupted work knows whether it may go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.corpus.documents import Document, document_from
from tutelage.corpus.readers import by_suffix
from tutelage.corpus.readers.text import Unit, reader_of
from tutelage.data.builtin import BUILTIN
from tutelage.data.files import DataFile, data_files, read
from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.store import fingerprint

Entry = Document | SetAside


@dataclass(frozen=True)
class Source:
    """A corpus that can be read again and again. `notes` are sentences that a report must print."""

    name: str
    files: tuple[DataFile, ...]
    records: Sequence[Record]
    field: str | None
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[Entry]:
        """Its documents in order. Raises DataError where a file cannot be read to its end."""
        for one in self._entries():
            yield one if isinstance(one, SetAside) else document_from(one, self.field)

    def identity(self) -> dict[str, Any]:
        """The files and what is in them (`store.fingerprint`), or the built-in set; changes where
        they do."""
        files = []
        for file in self.files:
            content = fingerprint(file.path) if file.path.exists() else [str(file.path)]
            files.append([file.name, *content])
        return {"name": self.name, "files": files, "rows": len(self.records), "field": self.field}

    def _entries(self) -> Iterator[Record | SetAside]:
        yield from self.records
        for file in self.files:
            yield from read(file)


def open_source(name: str, *, field: str | None = None, unit: Unit = "file") -> Source:
    """The source of that name; nothing is read yet, except that a built-in set is made.

    `field` names the field of a row that holds its text; `unit` is what a document is in a plain
    text file. Raises DataError for a source that is not there, UnknownName for a built-in set.
    """
    readers = by_suffix() | {".txt": reader_of(unit)}
    scheme, _, rest = name.partition(":")
    if scheme == "builtin":
        built = BUILTIN.get(rest, field=name)()
        records = [Record(f"{name}:{n}", str(n), dict(r)) for n, r in enumerate(built.records, 1)]
        return Source(name, (), records, field, built.notes)
    if scheme == "hf":
        from tutelage.corpus.remote import remote_files

        files, notes = remote_files(name, readers)
    else:
        files, notes = data_files(name, readers)
    return Source(name, tuple(files), (), field, tuple(notes))
