"""WiC of SuperGLUE: has a word one meaning in two sentences (Pilehvar and Camacho-Collados 2019).

Wang et al. 2019, arXiv:1905.00537.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    both = f"1. {row['sentence1'].strip()}\n2. {row['sentence2'].strip()}"
    text = f"{both}\nDoes {row['word']!r} mean the same in both?"
    return text, ("no", "yes"), place(row["label"], ("false", "true"))


TASK = choice_lines(
    "wic",
    ("val.jsonl", *hub("wic", "validation")),
    ("train.jsonl", *hub("wic", "train")),
    "SuperGLUE's WiC: val.jsonl, train.jsonl; or the hub's aps/super_glue",
    _read,
    hub="hf:aps/super_glue/wic",
)
