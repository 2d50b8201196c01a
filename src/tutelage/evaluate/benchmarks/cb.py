"""CB of SuperGLUE: does a clause follow from a text, contradict it, or neither (de Marneffe 2019).

Wang et al. 2019, arXiv:1905.00537. Accuracy, and the mean F1 of the three.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines

LABELS = ("entailment", "contradiction", "neutral")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['premise'].strip()}\nDoes it follow that: {row['hypothesis'].strip()}"
    return text, ("yes", "no", "maybe"), place(row["label"], LABELS)


TASK = choice_lines(
    "cb",
    ("val.jsonl", *hub("cb", "validation")),
    ("train.jsonl", *hub("cb", "train")),
    "SuperGLUE's CB: val.jsonl, train.jsonl; or the hub's aps/super_glue",
    _read,
    metrics=("accuracy", "macro_f1"),
    hub="hf:aps/super_glue/cb",
)
