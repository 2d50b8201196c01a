"""STS-B of GLUE: how alike two sentences are, from 0 to 5 (Cer et al. 2017; Wang et al. 2018).

arXiv:1804.07461. The model writes a number; Pearson's and Spearman's correlations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._numbers import last_number
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "GLUE's STS-B: dev.tsv, train.tsv; or the hub's nyu-mll/glue"
ASKED = (
    "How alike are they in meaning, from 0 (nothing in common) to 5 (the same)? "
    "Answer with a number, as 3.4."
)


def _part(*names: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, id, row in numbered(folder, names, CITED):
            text, score = checked("stsb", where, row, CITED, _read)
            yield Question(id, text, f"{score:g}")

    return found


def _read(row: dict[str, Any]) -> tuple[str, float]:
    score = float(row["score"] if "score" in row else row["label"])
    if not 0 <= score <= 5:
        raise ValueError(f"{score:g} is not between 0 and 5")
    return f"1. {row['sentence1'].strip()}\n2. {row['sentence2'].strip()}\n{ASKED}", score


TASK = Task(
    "stsb",
    "answer",
    "stsb",
    _part("dev.tsv", *hub("stsb", "validation")),
    CITED,
    examples=_part("train.tsv", *hub("stsb", "train")),
    extract=last_number,
    form=str.strip,
    metrics=("pearson", "spearman"),
    hub="hf:nyu-mll/glue/stsb",
)
