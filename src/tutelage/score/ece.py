"""Expected calibration error of the choice taken: 0 where a model is right as often as it says."""

from __future__ import annotations

from tutelage.score._calibration import ece, needed
from tutelage.score._metric import Metric

METRIC = Metric("ece", needed, ece, errors=True, needs="probabilities")
