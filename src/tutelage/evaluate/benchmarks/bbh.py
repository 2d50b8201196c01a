"""BIG-bench hard: 27 tasks language models found hard (Suzgun et al. 2022, arXiv:2210.09261)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._task import Question, Task, rows
from tutelage.prompts.chain_of_thought import final_answer
from tutelage.score._normalise import label

_LETTER = re.compile(r"\(([A-Z])\)")


def _questions(folder: Path) -> Iterator[Question]:
    for file in sorted((folder / "bbh").glob("*.json")):
        for number, row in enumerate(rows(file)):
            yield Question(f"{file.stem}-{number}", row["input"], row["target"], source=file.stem)


def extract(text: str) -> str | None:
    """Behind 'the answer is', or the first line; of a choice the letter in brackets alone."""
    named = final_answer(text) or text.strip().partition("\n")[0].strip()
    found = _LETTER.search(named)
    return f"({found[1]})" if found else named or None


TASK = Task(
    "bbh",
    "answer",
    "bbh",
    _questions,
    "github.com/suzgunmirac/BIG-Bench-Hard: bbh/ with one JSON a task",
    extract=extract,
    form=label,
    max_new_tokens=256,
)
