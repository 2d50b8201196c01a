"""Parquet, a batch of rows at a time; needs the `data` extra."""

from __future__ import annotations

from tutelage.corpus.readers import Reader
from tutelage.data.parquet_records import read_parquet

READER = Reader((".parquet",), read_parquet)
