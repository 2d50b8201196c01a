"""RTE of SuperGLUE: does one sentence follow from another (Wang et al. 2019, arXiv:1905.00537)."""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['premise'].strip()}\nDoes it follow that: {row['hypothesis'].strip()}"
    return text, ("yes", "no"), {"entailment": 0, "not_entailment": 1}[row["label"]]


TASK = choice_lines("rte", "val.jsonl", "train.jsonl", "SuperGLUE's RTE: val.jsonl", _read)
