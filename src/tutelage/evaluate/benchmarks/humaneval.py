"""HumanEval: 164 functions by head, with tests (Chen et al. 2021, arXiv:2107.03374)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._functions import function_task

TASK = function_task(
    "humaneval", "HumanEval.jsonl.gz", "github.com/openai/human-eval: HumanEval.jsonl.gz"
)
