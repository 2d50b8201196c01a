"""What a model is measured by on held-out text, as its objective allows.

A causal model: bits per byte (`bits.py`). Any other: the loss of its own objective, in nats per
predicted token, on rows made of the held-out documents as training rows are made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.data.pack import Example
from tutelage.evaluate.statistics import Measured, measured
from tutelage.generate.score import score
from tutelage.models.forward import Model
from tutelage.pretrain.makers import Maker
from tutelage.text.tokenizer import Tokenizer


def held_out_loss(
    model: Model, tokenizer: Tokenizer, end: int, documents: Sequence[str], maker: Maker
) -> Measured:
    """The measured value over documents; one that makes no row is left out."""
    examples: list[Example] = []
    owners: list[int] = []
    for number, text in enumerate(documents):
        ids = [*tokenizer.encode_plain(text), end]
        for start in range(0, len(ids) - 1, maker.window):
            window = ids[start : start + maker.window + 1]
            if len(window) > 2:
                # Places beyond any training row's, so that no row is drawn as one of those.
                made = maker.row(window, 10**12 + len(examples))
                examples.append(made)
                owners.append(number)
    totals = np.zeros((len(documents), 2))
    for owner, found in zip(owners, score(model, examples), strict=True):
        totals[owner] += (-sum(found.log_probabilities), len(found.log_probabilities))
    return measured(totals[totals[:, 1] > 0], _ratio, limits=None)


def _ratio(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / np.maximum(totals[..., 1], 1)
