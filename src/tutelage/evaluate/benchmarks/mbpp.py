"""MBPP: 974 short programs, as functions with docstrings (Austin et al. 2021, arXiv:2108.07732).

In the form of Athiwaratkun et al. 2022 (arXiv:2210.14868), which is HumanEval's.
"""

from __future__ import annotations

from tutelage.evaluate.benchmarks._functions import function_task

TASK = function_task(
    "mbpp", "mbpp_release_v1.jsonl", "github.com/amazon-science/mxeval: mbpp_release_v1.jsonl"
)
