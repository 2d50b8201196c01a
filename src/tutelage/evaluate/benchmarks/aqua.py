"""AQuA-RAT: algebra in words, five choices (Ling et al. 2017, arXiv:1705.04146)."""

from __future__ import annotations

import re
from typing import Any

from tutelage.evaluate.benchmarks._common_choice import choice_task
from tutelage.evaluate.benchmarks._task import LETTERS

_OPTION = re.compile(r"\(([A-E])\)\s*")


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text, _, listed = row["instruction"].partition("Answer Choices:")
    choices = [part.strip() for part in _OPTION.split(listed)[2::2]]
    told = [c if choices.index(c) == n else f"{c} ({LETTERS[n]})" for n, c in enumerate(choices)]
    return text.strip(), tuple(told), LETTERS.index(row["answer"])


TASK = choice_task("aqua", "aqua", pattern=_read)
