"""COPA of SuperGLUE: the likelier cause or effect (Roemmele et al. 2011; Wang et al. 2019).

arXiv:1905.00537.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines

_ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['premise'].strip()} {_ASKED[row['question']]}"
    return text, (row["choice1"], row["choice2"]), place(row["label"], ("0", "1"))


TASK = choice_lines(
    "copa",
    ("val.jsonl", *hub("copa", "validation")),
    ("train.jsonl", *hub("copa", "train")),
    "SuperGLUE's COPA: val.jsonl, train.jsonl; or the hub's aps/super_glue",
    _read,
    hub="hf:aps/super_glue/copa",
)
