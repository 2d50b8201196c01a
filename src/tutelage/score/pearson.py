"""Pearson's correlation of the numbers in answers with those in references; STS-B's metric.

An answer's number is the first in it; one without stands at the mean of the references.
"""

from __future__ import annotations

from tutelage.score._correlation import numbers, pearson, sums_of
from tutelage.score._metric import Metric

METRIC = Metric(
    "pearson",
    lambda references, answers: sums_of(*numbers(references, answers)),
    pearson,
    limits=(-1.0, 1.0),
    reads="numbers",
)
