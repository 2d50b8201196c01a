"""ARC, the challenge part: grade-school science (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task
from tutelage.evaluate.benchmarks._files import hub

TASK = choice_task(
    "arc_challenge",
    "arc_challenge",
    "arc_challenge_train",
    test=(
        "ARC-Challenge-Test.jsonl",
        "ARC-Challenge/ARC-Challenge-Test.jsonl",
        *hub("ARC-Challenge", "test"),
    ),
    train=(
        "ARC-Challenge-Train.jsonl",
        "ARC-Challenge/ARC-Challenge-Train.jsonl",
        *hub("ARC-Challenge", "train"),
    ),
    cited="allenai.org/data/arc: ARC-Challenge-Test.jsonl; or the hub's allenai/ai2_arc",
    hub="hf:allenai/ai2_arc/ARC-Challenge",
)
