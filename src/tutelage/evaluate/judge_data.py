"""Pairs of answers with what people said of them, in the forms that their authors publish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import rows
from tutelage.evaluate.judge import Pair, Side

FORMS = (
    "LLMBar's input, output_1, output_2, label; PandaLM's instruction, input, response1, "
    "response2, annotator1 ...; or prompt, chosen, rejected"
)


def pairs_of(path: Path) -> list[Pair]:
    """Of a .json or .jsonl file, or of all those of a folder. Raises DataError naming the row."""
    files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
    found = []
    for file in files:
        for number, row in enumerate(rows(file)):
            place = f"{file}:{number + 1}"
            pair = _pair(f"{file.stem}-{number}", row, place)
            if pair is None:
                raise DataError(
                    "not a pair of answers", field=place, got=", ".join(row)[:80], expected=FORMS
                )
            found.append(pair)
    if not found:
        raise DataError("no pairs of answers", field="--data", got=str(path), expected=FORMS)
    return found


def _pair(id: str, row: Mapping[str, Any], place: str) -> Pair | None:
    if {"input", "output_1", "output_2", "label"} <= set(row):
        label = _side(row["label"], place)
        return Pair(id, row["input"], row["output_1"], row["output_2"], (label,))
    if {"instruction", "response1", "response2", "annotator1"} <= set(row):
        labels = tuple(_side(row[k], place) for k in sorted(row) if k.startswith("annotator"))
        text = f"{row['instruction']}\n\n{row.get('input') or ''}".strip()
        return Pair(id, text, row["response1"], row["response2"], labels)
    if {"prompt", "chosen", "rejected"} <= set(row):
        # The right one stands second in every other pair, or place and worth would be one.
        swapped = int(id.rpartition("-")[2]) % 2 == 1
        both = (row["chosen"], row["rejected"])
        first, second = both[::-1] if swapped else both
        return Pair(id, row["prompt"], first, second, (2 if swapped else 1,))
    return None


def _side(value: Any, place: str) -> Side:
    found = int(value) if str(value) in ("0", "1", "2") else None
    if found is None:
        raise DataError("not a label", field=place, got=value, expected="0 (even), 1 or 2")
    side: Side = found  # type: ignore[assignment]
    return side
