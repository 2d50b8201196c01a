"""Small rows for every head, and a tuning of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tutelage.data.load import load
from tutelage.data.rows import Row
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

PLACES = ["Rome", "Oslo", "Lima", "Bonn"]
THINGS = ["soup", "film", "book", "rain"]
GOOD, BAD = ["fine", "great"], ["bad", "poor"]
Json = dict[str, Any]


def _classification(n: int) -> Json:
    word = (GOOD if n % 2 else BAD)[n // 2 % 2]
    return {"text": f"the {THINGS[n % 4]} is {word}", "label": "good" if n % 2 else "bad"}


def _regression(n: int) -> Json:
    return {"prompt": f"{THINGS[n % 4]}, stars: {n % 3}", "completion": str(float(n % 3))}


def _tokens(n: int) -> Json:
    words = ["in", PLACES[n % 4], "the", THINGS[n // 2 % 4]]
    return {"tokens": words, "tags": ["O", "B-place", "O", "O"]}


def _choices(n: int) -> Json:
    pair = [THINGS[n % 4], PLACES[n % 4]]
    return {"prompt": "a place?", "choices": pair[:: 1 if n % 2 else -1], "answer": PLACES[n % 4]}


def _question(n: int) -> Json:
    before = f"the {THINGS[n % 4]} of "
    answers = {"text": [PLACES[n % 4]], "answer_start": [len(before)]}
    return {"question": "where?", "context": f"{before}{PLACES[n % 4]} now", "answers": answers}


MAKERS = {
    "classification": _classification,
    "regression": _regression,
    "token-classification": _tokens,
    "multiple-choice": _choices,
    "question-answering": _question,
}


def written(head: str, folder: Path, count: int = 24) -> Path:
    """Rows of the head's shape in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{head}.jsonl"
    lines = [json.dumps({**MAKERS[head](n), "id": str(n)}) for n in range(count)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_of(head: str, folder: Path, count: int = 24) -> tuple[Row, ...]:
    return load(str(written(head, folder, count)), answered=True).rows


def tuned(
    head: str, folder: Path, source: str = "preset:llama-tiny", **changes: Any
) -> dict[str, Any]:
    """Tune on the rows; the result lies in `folder / "out"`."""
    where = {"device": "cpu", "dtype": "fp32", "threads": 1}
    settings = {"method": "lora", "steps": 4, "batch_tokens": 200, "head": head, **changes}
    how = {key: settings.pop(key) for key in ("deadline",) if key in settings}
    rows = rows_of(head, folder)
    return tune(source, rows, TuneConfig(**settings), folder / "out", **{**where, **how})
