"""COPA of SuperGLUE: the likelier cause or effect (Roemmele et al. 2011; Wang et al. 2019).

arXiv:1905.00537.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._lines import choice_lines

_ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['premise'].strip()} {_ASKED[row['question']]}"
    return text, (row["choice1"], row["choice2"]), int(row["label"])


TASK = choice_lines("copa", "val.jsonl", "train.jsonl", "SuperGLUE's COPA: val.jsonl", _read)
