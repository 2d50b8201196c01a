"""CoLA of GLUE: is a sentence grammatical (Warstadt et al. 2019).

Wang et al. 2018, arXiv:1804.07461. Matthews' correlation. The authors' table has no header.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines

COLUMNS = ("source", "label", "mark", "sentence")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['sentence'].strip()}\nIs this sentence grammatical?"
    return text, ("no", "yes"), place(row["label"], ("unacceptable", "acceptable"))


TASK = choice_lines(
    "cola",
    ("dev.tsv", "raw/in_domain_dev.tsv", *hub("cola", "validation")),
    ("train.tsv", "raw/in_domain_train.tsv", *hub("cola", "train")),
    "GLUE's CoLA: dev.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    metrics=("matthews", "accuracy"),
    columns=COLUMNS,
    hub="hf:nyu-mll/glue/cola",
)
