"""BoolQ: yes-or-no questions that people asked (Clark et al. 2019, arXiv:1905.10044).

SuperGLUE's rows have the passage a question was asked of; those of LLM-Adapters leave it out.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._common_choice import CITED
from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    if "instruction" in row:
        text = row["instruction"].partition("question:")[2].partition("Answer format:")[0].strip()
        return text, ("yes", "no"), ("true", "false").index(row["answer"])
    right = place(row["label"] if "label" in row else row["answer"], ("false", "true"))
    text = f"{row['passage'].strip()}\n{row['question'].strip().rstrip('?')}?"
    return text, ("yes", "no"), 1 - right


TASK = choice_lines(
    "boolq",
    ("boolq_test.json", "val.jsonl", "dev.jsonl", *hub("boolq", "validation")),
    ("train.jsonl", *hub("boolq", "train")),
    f"{CITED}; SuperGLUE's BoolQ: val.jsonl, train.jsonl; or the hub's aps/super_glue",
    _read,
    folder="commonsense_mc",
    hub="hf:aps/super_glue/boolq",
)
