"""WinoGrande: who or what a sentence's blank is (Sakaguchi et al. 2019, arXiv:1907.10641).

The sentence is shown with its blank and one of two names is chosen; lm-eval compares the ends of
the two filled sentences instead, so its numbers do not compare with these.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._common_choice import choice_task, either
from tutelage.evaluate.benchmarks._files import hub, place


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    if "instruction" in row:
        return either(row)
    choices = (row["option1"].strip(), row["option2"].strip())
    return row["sentence"].strip(), choices, place(row["answer"], "12")


TASK = choice_task(
    "winogrande",
    "winogrande",
    read=_read,
    test=("dev.jsonl", *hub("winogrande_xl", "validation")),
    train=("train_xl.jsonl", *hub("winogrande_xl", "train")),
    cited="winogrande.allenai.org: dev.jsonl, train_xl.jsonl; or the hub's allenai/winogrande",
    hub="hf:allenai/winogrande/winogrande_xl",
)
