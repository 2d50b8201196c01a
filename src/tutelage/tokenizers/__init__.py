"""Training, extending and measuring tokenizers: one file a kind, named as the kind.

Knows texts and vocabularies. What a trained tokenizer is used through is `text.tokenizer`.
"""

from __future__ import annotations

from tutelage.registry import Registry

KINDS = Registry(
    "tutelage.tokenizers",
    "kind of tokenizer",
    "KIND",
    parts=("added", "train", "extend", "measure", "open", "rows", "sentinels"),
)
