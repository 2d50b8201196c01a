"""A JSON list of objects, which is held in memory whole; JSON lines under that name are not."""

from __future__ import annotations

from tutelage.corpus.readers import Reader
from tutelage.data.json_records import read_json

READER = Reader((".json",), read_json)
