"""ARC, the easy part: grade-school science (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task
from tutelage.evaluate.benchmarks._files import hub

TASK = choice_task(
    "arc_easy",
    "arc_easy",
    "arc_easy_train",
    test=("ARC-Easy-Test.jsonl", "ARC-Easy/ARC-Easy-Test.jsonl", *hub("ARC-Easy", "test")),
    train=("ARC-Easy-Train.jsonl", "ARC-Easy/ARC-Easy-Train.jsonl", *hub("ARC-Easy", "train")),
    cited="allenai.org/data/arc: ARC-Easy-Test.jsonl; or the hub's allenai/ai2_arc",
    hub="hf:allenai/ai2_arc/ARC-Easy",
)
