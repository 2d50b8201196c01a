"""BIG-bench hard: 27 tasks language models found hard (Suzgun et al. 2022, arXiv:2210.09261).

The authors' three examples of each task, with their steps, can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import FILE, hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.prompts.chain_of_thought import final_answer
from tutelage.score._normalise import label

CITED = "github.com/suzgunmirac/BIG-Bench-Hard: bbh/ with one JSON a task, cot-prompts/"
_LETTER = re.compile(r"\(([A-Z])\)")
_SOLVED = re.compile(r"^Q: (.*?)\nA: (.*?)(?=\n\nQ: |\Z)", re.DOTALL | re.MULTILINE)
_BEGIN = "Let's think step by step."


def _questions(folder: Path) -> Iterator[Question]:
    names = ("bbh/*.json", "*.json", *hub("*", "test"))
    for where, id, row in numbered(folder, names, CITED):
        text, answer = checked("bbh", where, row, CITED, _read)
        task = row[FILE]
        if task == "test":  # the hub's files are named by their folders
            task = Path(where.rpartition(":")[0]).parent.name
            id = f"{task}-{id.rpartition('-')[2]}"
        yield Question(id, text, answer, source=task)


def _read(row: dict[str, Any]) -> tuple[str, str]:
    return row["input"], row["target"]


def _examples(folder: Path) -> Iterator[Question]:
    for file in sorted((folder / "cot-prompts").glob("*.txt")):
        solved = _SOLVED.findall(file.read_text(encoding="utf-8"))
        for number, (asked, steps) in enumerate(solved):
            told = steps.replace(_BEGIN, "", 1).strip()
            answer = final_answer(told) or told
            yield Question(
                f"{file.stem}-cot-{number}", asked.strip(), answer, source=file.stem, steps=told
            )


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
    CITED,
    examples=_examples,
    extract=extract,
    form=label,
    max_new_tokens=256,
    same_source=True,
    hub="hf:lukaemon/bbh",
)
