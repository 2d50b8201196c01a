"""Accuracy where choices compete by log-probability per byte, so that long ones are not at a loss.

What lm-eval calls acc_norm (it divides by characters).
"""

from __future__ import annotations

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("accuracy_per_byte", needed, mean, needs="probabilities")
