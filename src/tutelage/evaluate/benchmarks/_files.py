"""Where a task's rows lie: as their authors publish them, or as the hub lays data sets out.

    numbered(folder, ("dev.tsv", *hub("cola", "validation")), cited)

The first pattern that any file fits is taken. A folder is a copy of what the authors publish, of a
whole set of the hub, or of one configuration of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import rows

FILE = "_file"
"""The key under which a row says the name of its file."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


def hub(config: str, split: str) -> tuple[str, ...]:
    """Patterns of a split on the hub: in the configuration's folder, in it alone, in data/; as
    shards, as one file, and as the branch refs/convert/parquet has them."""
    places = (f"{config}/", "", "data/", f"data/{config}/") if config else ("", "data/")
    return tuple(
        f"{place}{split}{file}"
        for place in places
        for file in ("-*.parquet", ".parquet", "/*.parquet", ".jsonl", ".jsonl.gz", ".json")
    )


def found(folder: Path, names: Sequence[str], cited: str) -> list[Path]:
    """The files of the first pattern that fits any. Raises DataError saying what was looked for."""
    for name in names:
        files = sorted(path for path in folder.glob(name) if path.is_file())
        if files:
            return files
    looked = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    raise DataError(
        f"none of the files looked for is there: {looked}", field=str(folder / names[0]),
        got=str(folder), expected=cited,
    )  # fmt: skip


def numbered(
    folder: Path, names: Sequence[str], cited: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of each row: its place for messages, its id, itself with its file's name under FILE."""
    counts: Counter[str] = Counter()
    for file in found(folder, names, cited):
        stem = _SHARD.sub("", file.name).partition(".")[0]
        for number, row in enumerate(rows(file, columns), 1):
            yield f"{file}:{number}", f"{stem}-{counts[stem]}", {**row, FILE: stem}
            counts[stem] += 1


def place(label: Any, names: Sequence[str]) -> int:
    """Of a label given by its name or its number. Raises ValueError for another, as the -1 of
    rows whose labels are not published."""
    text = str(label).strip().lower()
    at = list(names).index(text) if text in names else int(text)
    if not 0 <= at < len(names):
        raise ValueError(f"the label {label!r} is none of {', '.join(names)}")
    return at
