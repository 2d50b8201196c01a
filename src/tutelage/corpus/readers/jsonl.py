"""JSON lines: one object a line."""

from __future__ import annotations

from tutelage.corpus.readers import Reader
from tutelage.data.json_records import read_jsonl

READER = Reader((".jsonl",), read_jsonl)
