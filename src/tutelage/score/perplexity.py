"""Perplexity of text a model reads: exp of the mean surprise of its tokens, in nats.

    perplexity = exp(sum of -log p / tokens)

It compares models of one tokenizer only; across tokenizers take bits per byte.
"""

from __future__ import annotations

import numpy as np

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, divide

METRIC = Metric(
    "perplexity",
    needed,
    lambda sums: np.exp(divide(sums[..., 0], sums[..., 1])),
    limits=None,
    errors=True,
    needs="probabilities",
)
