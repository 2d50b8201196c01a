"""OpenBookQA: elementary science with common sense (Mihaylov et al. 2018, arXiv:1809.02789)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task
from tutelage.evaluate.benchmarks._files import hub

TASK = choice_task(
    "openbookqa",
    "openbookqa",
    "openbookqa_train",
    test=("test.jsonl", "Main/test.jsonl", *hub("main", "test")),
    train=("train.jsonl", "Main/train.jsonl", *hub("main", "train")),
    cited="allenai.org/data/open-book-qa: Main/test.jsonl; or the hub's allenai/openbookqa",
    hub="hf:allenai/openbookqa/main",
)
