"""WinoGrande: who or what a sentence's blank is (Sakaguchi et al. 2019, arXiv:1907.10641)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task

TASK = choice_task("winogrande", "winogrande")
