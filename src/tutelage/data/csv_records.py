"""Comma-separated values as records: a header, then rows that may span lines.

Every cell is a text, except a `weight` that reads as a number. An empty `id`, `source` or `weight`
cell counts as absent. Quotes are read strictly: a quote that never closes would swallow rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError

MAX_CELL_CHARACTERS = 16 * 2**20


def read_csv(stream: BinaryIO, path: str, name: str) -> Iterator[Record | SetAside]:
    # surrogateescape keeps the row with undecodable bytes apart from the others of its file
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    rows = _rows(csv.reader(text, strict=True))
    header: list[str] | None = None
    for line, cells in rows:
        where = f"{path}:{line}"
        if header is None:
            header = _header(cells, where)
        elif isinstance(cells, csv.Error):
            yield SetAside(where, "bad-csv", str(cells))
        else:
            yield _record(header, cells, where, f"{name}:{line}")
    text.detach()


def _rows(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows or their faults with the line each starts on; blank lines are no rows.

    The limit of a cell is one setting for the whole process, so it is set for each row alone.
    """
    while True:
        line = reader.line_num + 1
        before = csv.field_size_limit(MAX_CELL_CHARACTERS)
        try:
            cells: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = error
        finally:
            csv.field_size_limit(before)
        if cells:
            yield line, cells


def _header(cells: list[str] | csv.Error, where: str) -> list[str]:
    if isinstance(cells, csv.Error):
        raise DataError(f"{where}: the header cannot be read: {cells}", field=where)
    faults = [c for c in cells if not c.strip() or "\0" in c or _undecodable(c)]
    faults += [cell for cell in cells if cells.count(cell) > 1]
    if faults:
        raise DataError(
            f"{where}: the header names no column, or one twice",
            field=where,
            got=", ".join(map(repr, cells[:20])),
            expected="one name a column",
        )
    return cells


def _record(header: list[str], cells: list[str], where: str, identity: str) -> Record | SetAside:
    if len(cells) != len(header):
        detail = f"{len(cells)} cells, the header has {len(header)}"
        return SetAside(where, "wrong-columns", detail)
    for column, cell in zip(header, cells, strict=True):
        if _undecodable(cell):
            return SetAside(where, "bad-utf8", f"in the column {column!r}")
    fields: dict[str, Any] = dict(zip(header, cells, strict=True))
    for key in ("id", "source", "weight"):
        if fields.get(key) == "":
            del fields[key]
    if "weight" in fields:
        fields["weight"] = _number(fields["weight"])
    return Record(where, identity, fields)


def _undecodable(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell)


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
