"""Comma-separated values with a header."""

from __future__ import annotations

from tutelage.corpus.readers import Reader
from tutelage.data.csv_records import read_csv

READER = Reader((".csv",), read_csv)
