"""WNLI of GLUE: is a sentence with its pronoun replaced still true (Levesque et al. 2011).

Wang et al. 2018, arXiv:1804.07461.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['sentence1'].strip()}\nDoes it follow that: {row['sentence2'].strip()}"
    return text, ("no", "yes"), place(row["label"], ("not_entailment", "entailment"))


TASK = choice_lines(
    "wnli",
    ("dev.tsv", *hub("wnli", "validation")),
    ("train.tsv", *hub("wnli", "train")),
    "GLUE's WNLI: dev.tsv, train.tsv; or the hub's nyu-mll/glue",
    _read,
    hub="hf:nyu-mll/glue/wnli",
)
