"""AQuA-RAT: algebra in words, five choices (Ling et al. 2017, arXiv:1705.04146)."""

from __future__ import annotations

import re
from typing import Any

from tutelage.evaluate.benchmarks._common_choice import choice_task
from tutelage.evaluate.benchmarks._files import hub
from tutelage.evaluate.benchmarks._task import LETTERS

_OPTION = re.compile(r"\(?([A-E])\)\s*")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Options in the prompt, or a list of `A)...` with the letter under `correct`."""
    if "instruction" in row:
        text, _, listed = row["instruction"].partition("Answer Choices:")
        choices, letter = _OPTION.split(listed)[2::2], row["answer"]
    else:
        text, letter = row["question"], row["correct"]
        choices = [_OPTION.sub("", one, count=1) for one in row["options"]]
    bare = [part.strip() for part in choices]
    told = [c if bare.index(c) == n else f"{c} ({LETTERS[n]})" for n, c in enumerate(bare)]
    return text.strip(), tuple(told), LETTERS.index(letter)


TASK = choice_task(
    "aqua",
    "aqua",
    read=_read,
    test=("test.json", *hub("raw", "test")),
    train=("train.json", *hub("raw", "train")),
    cited="github.com/google-deepmind/AQuA; or the hub's deepmind/aqua_rat",
    hub="hf:deepmind/aqua_rat/raw",
)
