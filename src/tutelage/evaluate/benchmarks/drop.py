"""DROP: reading with arithmetic, answers in words or numbers (Dua et al. 2019, arXiv:1903.00161).

The first answer given is the reference: a number, spans, or a date; exact match and token F1. The
authors also accept the other annotators' answers, which makes their numbers a little higher.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.prompts.chain_of_thought import final_answer


def _part(file: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        path = folder / file
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            for passage, one in read.items():
                for pair in one["qa_pairs"]:
                    text = f"{one['passage'].strip()}\n\n{pair['question'].strip()}"
                    yield Question(pair["query_id"], text, _said(pair["answer"]), source=passage)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cannot read {path}: {error!r}", field=str(path)) from None

    return found


def _said(answer: dict[str, Any]) -> str:
    date = answer["date"]
    parts = [date.get(part, "") for part in ("day", "month", "year")]
    return str(answer["number"] or ", ".join(answer["spans"]) or " ".join(filter(None, parts)))


def _extract(text: str) -> str | None:
    """Behind 'the answer is', or the first line."""
    return final_answer(text) or text.strip().partition("\n")[0].strip() or None


TASK = Task(
    "drop",
    "answer",
    "drop",
    _part("drop_dataset_dev.json"),
    "allennlp.org/drop: drop_dataset_dev.json and drop_dataset_train.json",
    examples=_part("drop_dataset_train.json"),
    extract=_extract,
    metrics=("exact_match", "f1"),
)
