"""Which files a data source names, and how their bytes become records.

    .jsonl    one JSON object a line; blank lines are no rows
    .json     a list of JSON objects (or JSON lines under that name)
    .csv      comma-separated with a header; a row may span lines, and is named by its first
    .parquet  rows counted from 1; needs the `data` extra
    .conll    a word and its tag a line, blank lines between texts
    .txt      one row a file, {"text"}, with the file's name as its source
    folder    all of these in it, in order of their paths; other files are noted

Text formats may be gzipped (`.jsonl.gz`). A file that cannot be read to its end is refused as a
whole: rows lost at an unknown place cannot be counted. Knows nothing of the shapes of rows.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tutelage.data.conll_records import read_conll
from tutelage.data.csv_records import read_csv
from tutelage.data.json_records import read_json, read_jsonl
from tutelage.data.parquet_records import read_parquet
from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError
from tutelage.store import MANIFEST

Entry = Record | SetAside
Reader = Callable[[BinaryIO, str, str], Iterator[Entry]]
"""A reader takes the open file, its path for messages, and its short name for ids."""


def read_text(stream: BinaryIO, path: str, name: str) -> Iterator[Entry]:
    """One record for the whole file."""
    try:
        text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        yield SetAside(f"{path}:{line}", "bad-utf8", f"byte {error.start}: {error.reason}")
        return
    yield Record(f"{path}:1", name, {"text": text, "source": name})


READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".conll": read_conll,
}


@dataclass(frozen=True)
class DataFile:
    """One file of a source; `name` is its path inside the source, the same on every machine."""

    path: Path
    name: str
    reader: Reader

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Its bytes, decompressed."""
        opened = gzip.open if self.path.suffix == ".gz" else Path.open
        return cast(BinaryIO, opened(self.path, "rb"))


def data_files(
    name: str, readers: Mapping[str, Reader] = READERS
) -> tuple[list[DataFile], list[str]]:
    """The files that a path names, and notes on what in it is not read. Raises DataError."""
    source = Path(name)
    if name and source.is_dir():
        return _in_folder(source, readers)
    if not name or not source.exists():
        raise DataError(
            f"no such data: {name!r}",
            field=name,
            expected="a file, a folder, hf:OWNER/NAME or builtin:NAME",
        )
    reader = reader_for(source, readers)
    if reader is None:
        raise DataError(
            f"{source} is of no known format", field=str(source), expected=" ".join(readers)
        )
    return [DataFile(source, source.name, reader)], []


def read(file: DataFile) -> Iterator[Entry]:
    """The records of one file in order. Raises DataError where it cannot be read to its end."""
    path = str(file.path)
    found = False
    try:
        with file.open() as stream:
            for entry in file.reader(stream, path, file.name):
                found = True
                yield entry
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} is damaged: {error}", field=path, expected="a whole gzip file"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", field=path) from None
    if not found:
        raise DataError(f"{path} holds no rows", field=path, expected="at least one row")


def _in_folder(folder: Path, readers: Mapping[str, Reader]) -> tuple[list[DataFile], list[str]]:
    files, others = [], []
    try:
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}", field=str(folder)) from None
    for path in paths:
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or _says_of_others(path.name):
            continue
        reader = reader_for(path, readers)
        if reader is None:
            others.append(inside.as_posix())
        else:
            files.append(DataFile(path, inside.as_posix(), reader))
    if not files:
        raise DataError(
            f"{folder} holds no data file", field=str(folder), expected=" ".join(readers)
        )
    shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    notes = [f"{len(others)} files of other kinds in {folder} were not read: {shown}"]
    return files, notes if others else []


def _says_of_others(name: str) -> bool:
    """Whether a file of ours describes the data beside it, and is none."""
    return name == MANIFEST or name.endswith(("funnel.json", "funnel.html"))


def reader_for(path: Path, readers: Mapping[str, Reader] = READERS) -> Reader | None:
    """How a file is read, by its suffix; None if it is of no known format."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return readers.get(suffixes[-1]) if suffixes else None
