"""Brier's score of the probabilities of all choices: 0 is sure and right, 2 sure and wrong."""

from __future__ import annotations

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("brier", needed, mean, limits=(0.0, 2.0), errors=True, needs="probabilities")
