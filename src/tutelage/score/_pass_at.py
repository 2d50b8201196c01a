"""pass@k: the chance that one of k drawn programs passes its tests (Chen et al. 2021).

    pass@k = mean over problems of 1 - C(n - c, k) / C(n, k)

of n drawn programs, c of which pass; unbiased, where 1 - (1 - c/n)^k is not (arXiv:2107.03374,
section 2.1). Whole numbers, so that nothing is lost where the paper multiplies quotients.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from tutelage.errors import ConfigError
from tutelage.score._metric import Metric, mean

KS = (1, 10, 100)
"""As published."""


def pass_at(drawn: int, passed: int, k: int) -> float:
    """1 - C(n-c, k)/C(n, k). Raises ConfigError for fewer than k programs."""
    if not 0 <= passed <= drawn or not 1 <= k <= drawn:
        raise ConfigError(
            "pass@k needs at least k programs", field="--samples", got=drawn, expected=f">= {k}"
        )
    return 1.0 - comb(drawn - passed, k) / comb(drawn, k)


def rows(drawn: int, passed: Sequence[int], k: int) -> np.ndarray:
    """Row statistics [n, 2] of problems, of each of which `passed` of `drawn` programs pass."""
    values = [pass_at(drawn, one, k) for one in passed]
    return np.column_stack([np.array(values, dtype=float), np.ones(len(values))])


def metric(k: int) -> Metric:
    def refuse(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        raise ConfigError(f"pass@{k} comes from programs that are run", field="--metric")

    return Metric(f"pass_at_{k}", refuse, mean, needs="programs that are run")
