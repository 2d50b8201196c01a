"""How well text is predicted, in bits per byte: comparable across tokenizers, and with compressors.

    bits per byte = -sum log2 p(token | document before it) / bytes of the documents

A document longer than the context is read in windows that overlap by half: each token but those of
the first window has at least half a context before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tutelage.data.pack import Example
from tutelage.evaluate.statistics import Measured, measured
from tutelage.generate.score import score
from tutelage.models.forward import Model
from tutelage.text.tokenizer import Tokenizer


def bits_per_byte(
    model: Model, tokenizer: Tokenizer, end: int, documents: Sequence[str], context: int
) -> Measured:
    """The measured value over documents; `end` is the token that stands before each."""
    examples: list[Example] = []
    owners: list[int] = []
    for number, text in enumerate(documents):
        for window in windows([end, *tokenizer.encode_plain(text)], context):
            examples.append(window)
            owners.append(number)
    totals = np.zeros((len(documents), 2))
    for owner, found in zip(owners, score(model, examples), strict=True):
        totals[owner, 0] -= sum(found.log_probabilities) / math.log(2)
    totals[:, 1] = [len(text.encode("utf-8")) for text in documents]
    return measured(totals, _ratio, limits=None)


def windows(ids: Sequence[int], context: int) -> Iterator[Example]:
    """Every token but the first is predicted once."""
    done = 1
    while done < len(ids):
        start = 0 if done == 1 else done - context // 2
        stop = min(start + context + 1, len(ids))
        at = range(done - 1 - start, stop - 1 - start)
        yield Example(tuple(ids[start : stop - 1]), tuple(at), tuple(ids[done:stop]))
        done = stop


def _ratio(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / np.maximum(totals[..., 1], 1)
