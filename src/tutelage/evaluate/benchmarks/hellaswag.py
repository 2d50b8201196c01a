"""HellaSwag: how a scene goes on, among four endings (Zellers et al. 2019, arXiv:1905.07830)."""

from __future__ import annotations

import re
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines

_NOTE = re.compile(r"\[.*?\]")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Notes of the editors in brackets are left out, as lm-eval does."""
    text = f"{row['activity_label']}: {row['ctx']}"
    plain = [" ".join(_NOTE.sub("", one).split()) for one in (text, *row["endings"])]
    return plain[0], tuple(plain[1:]), place(row["label"], "0123")


TASK = choice_lines(
    "hellaswag",
    ("hellaswag_val.jsonl", *hub("", "validation")),
    ("hellaswag_train.jsonl", *hub("", "train")),
    "github.com/rowanz/hellaswag: data/hellaswag_val.jsonl and hellaswag_train.jsonl",
    _read,
    hub="hf:Rowan/hellaswag",
)
