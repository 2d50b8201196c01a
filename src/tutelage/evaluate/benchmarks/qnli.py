"""QNLI of GLUE: does a sentence answer a question (Rajpurkar et al. 2016).

Wang et al. 2018, arXiv:1804.07461.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['sentence'].strip()}\nDoes this answer the question: {row['question'].strip()}"
    return text, ("yes", "no"), place(row["label"], ("entailment", "not_entailment"))


TASK = choice_lines(
    "qnli",
    ("dev.tsv", *hub("qnli", "validation")),
    ("train.tsv", *hub("qnli", "train")),
    "GLUE's QNLI: dev.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    hub="hf:nyu-mll/glue/qnli",
)
