"""OpenBookQA: elementary science with common sense (Mihaylov et al. 2018, arXiv:1809.02789)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task

TASK = choice_task("openbookqa", "openbookqa", "openbookqa_train")
