"""DROP: reading that asks for arithmetic over a passage (Dua et al. 2019, arXiv:1903.00161).

Exact match and token F1 of the first annotator's answer or, where others gave theirs, the best of
all. Several spans are one text here, where the authors align span by span, so F1 can be a little
higher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.prompts.chain_of_thought import final_answer

CITED = "allennlp.org/drop: drop_dataset_dev.json and drop_dataset_train.json"
Asked = tuple[str, str, str, list[str], str]
"""Id, passage, question, answers, and the passage's name."""


def _part(*names: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, _, row in numbered(folder, names, CITED):
            for id, passage, question, said, name in checked("drop", where, row, CITED, _asked):
                text = f"{passage.strip()}\n\n{question.strip()}"
                accepted = tuple(dict.fromkeys(said))
                yield Question(id, text, accepted[0], source=name, accepted=accepted)

    return found


def _asked(row: dict[str, Any]) -> list[Asked]:
    """All passages of the authors' file, or one row of the hub's."""
    if "answers_spans" in row:
        said = [", ".join(row["answers_spans"]["spans"])]
        return [(row["query_id"], row["passage"], row["question"], said, row["section_id"])]
    asked = []
    for name, one in ((k, v) for k, v in row.items() if isinstance(v, dict)):
        for pair in one["qa_pairs"]:
            answers = [pair["answer"], *pair.get("validated_answers", ())]
            said = [text for text in map(_said, answers) if text]
            if not said:
                raise ValueError(f"a question without an answer: {pair['query_id']}")
            asked.append((pair["query_id"], one["passage"], pair["question"], said, name))
    return asked


def _said(answer: dict[str, Any]) -> str:
    date = answer.get("date") or {}
    parts = [date.get(part, "") for part in ("day", "month", "year")]
    return str(answer["number"] or ", ".join(answer["spans"]) or " ".join(filter(None, parts)))


def _extract(text: str) -> str | None:
    """Behind 'the answer is', or the first line."""
    return final_answer(text) or text.strip().partition("\n")[0].strip() or None


TASK = Task(
    "drop",
    "answer",
    "drop",
    _part("drop_dataset_dev.json", *hub("", "validation")),
    CITED,
    examples=_part("drop_dataset_train.json", *hub("", "train")),
    extract=_extract,
    metrics=("exact_match", "f1"),
    hub="hf:ucinlp/drop",
)
