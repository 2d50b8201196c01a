"""Words as no language writes them: too long or short on average, without letters, no stop words.

Gopher (Rae et al. 2021, arXiv:2112.11446, A.1.1): a mean length of 3 to 10 characters, 80% of the
words with at least one letter, and two of {the, be, to, of, and, that, have, with}. The stop words
are English: set others, or `min_stop_words = 0`, for other languages.
"""

from __future__ import annotations

import string

from tutelage.config import Frozen
from tutelage.corpus.documents import Document

_EDGES = string.punctuation + "“”‘’«»"


class Words(Frozen):
    """Lengths are in characters, without punctuation around a word."""

    min_mean_length: float = 3.0
    max_mean_length: float = 10.0
    min_alphabetic: float = 0.8
    min_stop_words: int = 2
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")

    def judge(self, document: Document) -> str | None:
        words = document.words
        bare = [word for word in (word.strip(_EDGES) for word in words) if word]
        if not bare or sum(map(len, bare)) / len(bare) < self.min_mean_length:
            return "words-too-short"
        if sum(map(len, bare)) / len(bare) > self.max_mean_length:
            return "words-too-long"
        alphabetic = sum(any(c.isalpha() for c in word) for word in words)
        if alphabetic / len(words) < self.min_alphabetic:
            return "too-few-letters"
        wanted = set(self.stop_words)
        if sum(word.lower() in wanted for word in bare) < self.min_stop_words:
            return "no-stop-words"
        return None


FILTER = Words
