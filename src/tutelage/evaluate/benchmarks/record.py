"""ReCoRD of SuperGLUE: whom or what a gap in a sentence about the news names (Zhang et al. 2018).

Wang et al. 2019, arXiv:1905.00537. The choices are the passage's names; any of those accepted is
right. Accuracy (SuperGLUE's EM) and token F1, at the best of the accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "SuperGLUE's ReCoRD: val.jsonl, train.jsonl; or the hub's aps/super_glue"


def _part(*names: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, id, row in numbered(folder, names, CITED):
            for number, one in enumerate(checked("record", where, row, CITED, _asked)):
                text, entities, right = one
                yield Question(f"{id}-{number}", text, right[0], entities, accepted=right)

    return found


def _asked(row: dict[str, Any]) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Each sentence with a gap: its text, the names to choose from, and those that are right."""
    passage = row["passage"]
    if isinstance(passage, str):
        entities, asked = row["entities"], [(row["query"], row["answers"])]
    else:
        spans = passage["entities"]
        entities = [passage["text"][one["start"] : one["end"] + 1] for one in spans]
        asked = [(one["query"], [a["text"] for a in one["answers"]]) for one in row["qas"]]
        passage = passage["text"]
    choices = tuple(dict.fromkeys(one.strip() for one in entities))
    passage = passage.replace("@highlight", "\n-").strip()
    return [
        (f"{passage}\n\nWhat does @placeholder stand for: {query.strip()}", choices,
         _right(answers, choices))
        for query, answers in asked
    ]  # fmt: skip


def _right(answers: list[str], choices: tuple[str, ...]) -> tuple[str, ...]:
    right = tuple(dict.fromkeys(one.strip() for one in answers))
    if not right or not set(right) <= set(choices):
        raise ValueError(f"no answer among the names: {', '.join(right)}")
    return right


TASK = Task(
    "record",
    "choice",
    "record",
    _part("val.jsonl", *hub("record", "validation")),
    CITED,
    examples=_part("train.jsonl", *hub("record", "train")),
    metrics=("accuracy", "f1"),
    hub="hf:aps/super_glue/record",
)
