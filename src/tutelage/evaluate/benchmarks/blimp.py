"""BLiMP: of two sentences that differ in one point of grammar, the right one should be likelier.

Warstadt et al. 2020, arXiv:1912.00582.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _questions(folder: Path) -> Iterator[Question]:
    for file in sorted(folder.glob("*.jsonl*")):
        kind = file.name.partition(".")[0]
        for number, row in enumerate(rows(file)):
            pair = (row["sentence_good"], row["sentence_bad"])
            yield Question(f"{kind}-{number}", "", pair[0], pair, kind)


TASK = Task(
    "blimp",
    "pair",
    "blimp",
    _questions,
    "github.com/alexwarstadt/blimp: one JSONL a phenomenon",
    metrics=("accuracy",),
)
