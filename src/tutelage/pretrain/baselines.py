"""What held-out text costs without any neural network: compressors, and n-grams on the same tokens.

    gzip, xz      bytes of (training text, held-out text) less those of the training text alone
    kneser-ney    -sum log2 p(token | 4 before it) of a 5-gram model of the training tokens

All in bits per byte of the held-out text, as `bits.py` measures a model; each has seen the training
text. The held-out documents go through a compressor one after the other, so that it also learns
from those before. gzip looks back over 32 KiB; xz over everything, by a dictionary of that size.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from tutelage.evaluate.statistics import Measured, measured
from tutelage.pretrain.kneser_ney import ORDER, KneserNey
from tutelage.text.tokenizer import Tokenizer

SMALLEST = 2**16
LARGEST = 1_500_000_000
"""Bytes of a dictionary of xz."""


def baselines(
    training: Iterable[str], held_out: Sequence[str], tokenizer: Tokenizer
) -> dict[str, Measured]:
    """By name; compressors have no interval. Holds the training text and its tokens in memory."""
    texts = list(training)
    before, after = ("\n".join(part).encode() for part in (texts, held_out))
    return {
        "gzip": _alone(gzip_bits(before, after)),
        "xz": _alone(xz_bits(before, after)),
        f"kneser-ney-{ORDER}": n_gram_bits(texts, held_out, tokenizer),
    }


def n_gram_bits(training: Iterable[str], held_out: Sequence[str], tokenizer: Tokenizer) -> Measured:
    """Of a 5-gram model of the training text's tokens; the interval is over documents."""
    model = KneserNey(map(tokenizer.encode_plain, training), tokenizer.vocabulary)
    found = model.log2(map(tokenizer.encode_plain, held_out))
    bits = [-float(one.sum()) for one in found]
    totals = np.array([bits, [len(text.encode()) for text in held_out]]).T
    return measured(totals, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1), limits=None)


def gzip_bits(before: bytes, after: bytes) -> float:
    """At level 9, per byte of `after`."""

    def size(text: bytes) -> int:
        made = zlib.compressobj(9, zlib.DEFLATED, 31)
        return len(made.compress(text)) + len(made.flush())

    return 8 * (size(before + after) - size(before)) / len(after)


def xz_bits(before: bytes, after: bytes) -> float:
    """At level 9, extreme, with a dictionary as large as the text, per byte of `after`."""
    room = min(max(len(before) + len(after), SMALLEST), LARGEST)
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": room}]

    def size(text: bytes) -> int:
        return len(lzma.compress(text, filters=chain))

    return 8 * (size(before + after) - size(before)) / len(after)


def _alone(value: float) -> Measured:
    return {"value": value, "low": None, "high": None, "n": 1, "reason": "one stream of bytes"}
