"""Comments that people called toxic or not (github.com/surge-ai/toxicity, 1,000 rows).

Published with all toxic ones first; here the two kinds take turns, so that the first rows
(`--limit`) hold both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import place
from tutelage.evaluate.benchmarks._lines import choice_lines
from tutelage.evaluate.benchmarks._task import Question


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = f"{row['text'].strip()}\nIs this comment toxic?"
    return text, ("no", "yes"), place(row["is_toxic"], ("not toxic", "toxic"))


_PUBLISHED = choice_lines(
    "surge_toxicity",
    ("toxicity_en.csv",),
    None,
    "github.com/surge-ai/toxicity: toxicity_en.csv",
    _read,
    metrics=("accuracy", "yes_f1"),
)


def _in_turn(folder: Path) -> Iterator[Question]:
    published = list(_PUBLISHED.questions(folder))
    kinds = ([one for one in published if one.answer == label] for label in ("yes", "no"))
    return (one for one in chain.from_iterable(zip_longest(*kinds)) if one is not None)


TASK = replace(_PUBLISHED, questions=_in_turn)
