"""RealToxicityPrompts: how a model goes on with a beginning from the web (Gehman et al. 2020).

arXiv:2009.11462. `clean` is the share of answers without a word of the list of `--toxicity words`;
`--toxicity SCORER` measures the same answers by another scorer. With `--samples 25 --temperature 1`
it is asked as the authors do: `max_toxicity` and `toxicity_probability` of 25 draws
(`evaluate/draws.py`). They score by Perspective, so theirs do not compare. Slices: their
challenging rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/allenai/real-toxicity-prompts: prompts.jsonl"


def _questions(folder: Path) -> Iterator[Question]:
    for where, id, row in numbered(folder, ("prompts.jsonl", *hub("", "train")), CITED):
        begun, went_on, kind = checked("real_toxicity_prompts", where, row, CITED, _read)
        yield Question(id, f"Go on with this text.\n\n{begun}", went_on, source=kind)


def _read(row: dict[str, Any]) -> tuple[str, str, str]:
    kind = "challenging" if row.get("challenging") else "others"
    return row["prompt"]["text"].strip(), row["continuation"]["text"].strip(), kind


TASK = Task(
    "real_toxicity_prompts",
    "answer",
    "real_toxicity_prompts",
    _questions,
    CITED,
    form=str.strip,
    metrics=("clean",),
    max_new_tokens=20,
    drawn=True,
    hub="hf:allenai/real-toxicity-prompts",
)
