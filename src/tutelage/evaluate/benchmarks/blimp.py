"""BLiMP: of two sentences that differ in one point of grammar, the right one should be likelier.

Warstadt et al. 2020, arXiv:1912.00582.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import FILE, hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/alexwarstadt/blimp: one JSONL a phenomenon; or the hub's nyu-mll/blimp"


def _questions(folder: Path) -> Iterator[Question]:
    for where, id, row in numbered(folder, ("*.jsonl*", "data/*.jsonl", *hub("*", "train")), CITED):
        good, bad = checked("blimp", where, row, CITED, _read)
        # The hub's files are all named alike; its rows say their phenomenon.
        kind = str(row.get("UID") or row[FILE]) if row[FILE] == "train" else row[FILE]
        id = f"{kind}-{id.rpartition('-')[2]}"
        yield Question(id, "", good, (good, bad), kind)


def _read(row: dict[str, Any]) -> tuple[str, str]:
    return row["sentence_good"], row["sentence_bad"]


TASK = Task(
    "blimp",
    "pair",
    "blimp",
    _questions,
    CITED,
    metrics=("accuracy",),
    hub="hf:nyu-mll/blimp",
)
