"""SST-2 of GLUE: is a sentence of a film's review positive (Socher et al. 2013; Wang et al. 2018).

arXiv:1804.07461. Of the development rows, since the test rows' labels are not published.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['sentence'].strip()}\nIs this positive or negative?"
    labels = ("negative", "positive")
    return text, labels, place(row["label"], labels)


TASK = choice_lines(
    "sst2",
    ("dev.tsv", *hub("sst2", "validation")),
    ("train.tsv", *hub("sst2", "train")),
    "GLUE's SST-2: dev.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    hub="hf:nyu-mll/glue/sst2",
)
