"""MRPC of GLUE: do two sentences mean the same (Dolan and Brockett 2005; Wang et al. 2018).

arXiv:1804.07461. Accuracy, and the F1 of yes.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Microsoft's table has `#1 String`, `#2 String` and `Quality`."""
    table = "Quality" in row
    one, other = (row[f"#{n} String" if table else f"sentence{n}"].strip() for n in (1, 2))
    right = place(row["Quality" if table else "label"], ("not_equivalent", "equivalent"))
    return f"1. {one}\n2. {other}\nDo both mean the same?", ("no", "yes"), right


TASK = choice_lines(
    "mrpc",
    ("dev.tsv", *hub("mrpc", "validation")),
    ("train.tsv", *hub("mrpc", "train")),
    "GLUE's MRPC: dev.tsv of Microsoft's columns, or the hub's nyu-mll/glue",
    _read,
    metrics=("accuracy", "yes_f1"),
    hub="hf:nyu-mll/glue/mrpc",
)
