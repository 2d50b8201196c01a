"""Social IQa: what people do and feel (Sap et al. 2019, arXiv:1904.09728)."""

from __future__ import annotations

from tutelage.evaluate.benchmarks._common_choice import choice_task

TASK = choice_task("social_iqa", "social_i_qa")
