"""AI2's reasoning challenge, the hard questions (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task

TASK = choice_task("arc_challenge", "arc_challenge", "arc_challenge_train")
