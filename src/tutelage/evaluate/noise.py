"""The noise floor: how far two runs of one recipe are apart when only the seed differs.

    floor = t_{n-1} s sqrt(2)      s the metric's deviation over n seeds, t Student's quantile

Intervals over rows know nothing of it: two trainings that differ in nothing but their seed may
differ by more than chance in the rows. A difference below the floor is not one of recipes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import RequestError
from tutelage.evaluate.intervals import student_quantile


@dataclass(frozen=True)
class Floor:
    """`size` is the difference that 95% of pairs of seeds stay within; over `seeds` runs."""

    size: float
    deviation: float
    seeds: int


def noise_floor(values: Sequence[float]) -> Floor:
    """From the metric's values of runs that differ in their seed. Raises RequestError for one."""
    if len(values) < 2:
        raise RequestError(
            "noise is measured over several seeds",
            field="--noise",
            got=len(values),
            expected=">= 2",
        )
    deviation = float(np.std(values, ddof=1))
    return Floor(
        student_quantile(len(values) - 1) * deviation * math.sqrt(2), deviation, len(values)
    )
