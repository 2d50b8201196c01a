"""Accuracy: the share of answers that name the reference's label, case and punctuation aside."""

from __future__ import annotations

from tutelage.score._metric import mean_of
from tutelage.score._normalise import label

METRIC = mean_of("accuracy", lambda reference, answer: label(reference) == label(answer))
