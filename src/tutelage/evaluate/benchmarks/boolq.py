"""BoolQ: yes-or-no questions that people asked (Clark et al. 2019, arXiv:1905.10044).

As LLM-Adapters publishes it, without the passage the question was asked of.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._common_choice import choice_task


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    text = row["instruction"].partition("question:")[2].partition("Answer format:")[0].strip()
    return text, ("yes", "no"), {"true": 0, "false": 1}[row["answer"]]


TASK = choice_task("boolq", "boolq", pattern=_read)
