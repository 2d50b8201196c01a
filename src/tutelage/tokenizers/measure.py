"""How well a tokenizer fits texts: tokens a word, bytes a token, and what it has no tokens for.

Words are what white space parts, whatever the tokenizer makes of them, so that tokenizers compare.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.progress import Progress, silent
from tutelage.text.tokenizer import Tokenizer

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no whole character."""


@dataclass(frozen=True)
class Fit:
    """Counts over texts, and the ratios that are read."""

    texts: int
    words: int
    bytes: int
    tokens: int
    unknown: int
    """Tokens that say only that something was there."""
    fallback: int
    """Tokens that spell a part of a character, in bytes."""

    @property
    def fertility(self) -> float:
        """Tokens a word."""
        return self.tokens / self.words if self.words else 0.0

    @property
    def bytes_per_token(self) -> float:
        """Bytes of the text in UTF-8 that one token stands for."""
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def coverage(self) -> float:
        """Share of the tokens that are neither unknown nor bytes of a character."""
        return 1 - (self.unknown + self.fallback) / self.tokens if self.tokens else 1.0

    def as_json(self) -> dict[str, Any]:
        shares = {
            "unknown": self.unknown / max(self.tokens, 1),
            "fallback": self.fallback / max(self.tokens, 1),
        }
        return {
            "texts": self.texts,
            "words": self.words,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "fertility": self.fertility,
            "bytes_per_token": self.bytes_per_token,
            "coverage": self.coverage,
            **shares,
        }


def measure(tokenizer: Tokenizer, texts: Sequence[str], progress: Progress = silent) -> Fit:
    """Cut all texts as plain text, in which control tokens are not recognised, and count."""
    counts: Counter[int] = Counter()
    words = size = 0
    for done, text in enumerate(texts, 1):
        counts.update(tokenizer.encode_plain(text))
        words += len(text.split())
        size += len(text.encode())
        progress("texts measured", done, len(texts))
    unknown = counts[tokenizer.unk_id] if tokenizer.unk_id is not None else 0
    fallback = sum(times for id, times in counts.items() if is_byte(tokenizer, id))
    return Fit(len(texts), words, size, counts.total(), unknown, fallback)


def is_byte(tokenizer: Tokenizer, id: int) -> bool:
    """Whether a token stands for bytes that are no whole character, or for a byte by its number."""
    return bool(BYTE.fullmatch(tokenizer.token(id) or "")) or BROKEN in tokenizer.decode([id])
