"""QQP of GLUE: do two questions ask the same (Iyer et al. 2017).

Wang et al. 2018, arXiv:1804.07461. Accuracy, and the F1 of yes.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"1. {row['question1'].strip()}\n2. {row['question2'].strip()}\nDo both ask the same?"
    label = row["is_duplicate"] if "is_duplicate" in row else row["label"]
    return text, ("no", "yes"), place(label, ("not_duplicate", "duplicate"))


TASK = choice_lines(
    "qqp",
    ("dev.tsv", *hub("qqp", "validation")),
    ("train.tsv", *hub("qqp", "train")),
    "GLUE's QQP: dev.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    metrics=("accuracy", "yes_f1"),
    hub="hf:nyu-mll/glue/qqp",
)
