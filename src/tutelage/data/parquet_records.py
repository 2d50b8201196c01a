"""Parquet files as records, counted from 1. Needs pyarrow, which the `data` extra installs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError

ROWS_AT_ONCE = 1024


def read_parquet(stream: BinaryIO, path: str, name: str) -> Iterator[Record | SetAside]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"reading {path} needs pyarrow",
            field=path,
            hint="pip install 'tutelage[data]'",
        ) from None
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(ROWS_AT_ONCE):
            for value in _values(batch):
                number += 1
                where = f"{path}:{number}"
                if isinstance(value, UnicodeDecodeError):
                    yield SetAside(where, "bad-utf8", value.reason)
                else:
                    yield Record(where, f"{name}:{number}", value)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file: {error}",
            field=path,
            got=f"failed after row {number}",
        ) from None


def _values(batch: Any) -> list[Any]:
    """The rows of one batch; one whose texts are not UTF-8 as its error."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return [_one(batch.slice(n, 1)) for n in range(batch.num_rows)]


def _one(row: Any) -> Any:
    try:
        return row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return error
