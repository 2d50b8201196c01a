"""MNLI of GLUE: does a sentence follow from another, or contradict it (Williams et al. 2018).

Wang et al. 2018, arXiv:1804.07461. Both parts: genres of training (matched), and others.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import FILE, hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines

LABELS = ("entailment", "neutral", "contradiction")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int, str]:
    """GLUE's table says sentence1 and sentence2, the hub premise and hypothesis."""
    table = "gold_label" in row
    one = row["sentence1" if table else "premise"].strip()
    other = row["sentence2" if table else "hypothesis"].strip()
    right = place(row["gold_label" if table else "label"], LABELS)
    part = "mismatched" if "mismatched" in row[FILE] else "matched"
    return f"{one}\nDoes it follow that: {other}", ("yes", "maybe", "no"), right, part


TASK = choice_lines(
    "mnli",
    ("dev_*matched.tsv", *hub("mnli", "validation_*matched")),
    ("train.tsv", *hub("mnli", "train")),
    "GLUE's MNLI: dev_matched.tsv, dev_mismatched.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    hub="hf:nyu-mll/glue/mnli",
)
