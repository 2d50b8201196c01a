"""MRPC of GLUE: do two sentences mean the same (Dolan and Brockett 2005; Wang et al. 2018).

arXiv:1804.07461, from JSON lines with `sentence1`, `sentence2` and `label`.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"1. {row['sentence1'].strip()}\n2. {row['sentence2'].strip()}\nDo both mean the same?"
    return text, ("no", "yes"), int(row["label"])


TASK = choice_lines(
    "mrpc", "validation.jsonl", "train.jsonl", "GLUE's MRPC as JSON lines: validation.jsonl", _read
)
