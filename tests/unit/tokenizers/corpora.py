"""Texts to learn from, and tokenizers learnt from them, for the tests of this folder."""

from __future__ import annotations

import functools
from pydoc_data.topics import topics

from tutelage.tokenizers.train import Trained, train

KINDS = ("bpe", "wordpiece", "unigram")
SIZE = 900
SENTINELS = 5
TYPED = ["<|endoftext|>", "<extra_id_0>", "[MASK]", "[UNK]", "</s>", "<unk>", "<0xE2>"]
"""What a person may type that a vocabulary has as a control token, or as a byte."""


@functools.cache
def texts() -> tuple[str, ...]:
    """English about Python, with its code and tables; and some of other scripts."""
    chosen = [text for _, text in sorted(topics.items()) if len(text) < 20_000]
    return (*chosen[:20], "Été à la plage: naïve café. " * 30, "\t\tколо\n\n" * 40)


@functools.cache
def learnt(kind: str) -> Trained:
    return train(texts(), kind, SIZE, sentinels=SENTINELS)
