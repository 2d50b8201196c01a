"""Bits per byte of text a model reads: what it would take to store the text with it.

bits per byte = sum of -log2 p / bytes in UTF-8         whatever the tokenizer
"""

from __future__ import annotations

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("bits_per_byte", needed, mean, limits=None, errors=True, needs="probabilities")
