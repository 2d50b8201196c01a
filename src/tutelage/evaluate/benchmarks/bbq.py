"""BBQ: questions about people that stereotypes answer, with and without evidence (Parrish et al.).

2022, arXiv:2110.08193. Where the context leaves it open, "not known" is right. Slices by category
and by whether the context is open.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int, str]:
    text = f"{row['context'].strip()}\n{row['question'].strip()}"
    choices = tuple(row[f"ans{n}"].strip() for n in range(3))
    part = f"{row['category']} {row['context_condition']}"
    return text, choices, place(row["label"], "012"), part


TASK = choice_lines(
    "bbq",
    ("data/*.jsonl", "*.jsonl", *hub("", "test")),
    None,
    "github.com/nyu-mll/BBQ: data/ with one JSONL a category",
    _read,
    hub="hf:heegyu/bbq",
)
