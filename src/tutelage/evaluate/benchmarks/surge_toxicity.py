"""Comments that people called toxic or not (github.com/surge-ai/toxicity, 1,000 rows)."""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['text'].strip()}\nIs this comment toxic?"
    return text, ("no", "yes"), place(row["is_toxic"], ("not toxic", "toxic"))


TASK = choice_lines(
    "surge_toxicity",
    ("toxicity_en.csv",),
    None,
    "github.com/surge-ai/toxicity: toxicity_en.csv",
    _read,
    metrics=("accuracy", "yes_f1"),
)
