"""Too short or too long: 50 to 100,000 words (Gopher: Rae et al. 2021, arXiv:2112.11446, A.1.1)."""

from __future__ import annotations

from tutelage.config import Frozen
from tutelage.corpus.documents import Document


class Length(Frozen):
    """Words are what stands between white space."""

    min_words: int = 50
    max_words: int = 100_000

    def judge(self, document: Document) -> str | None:
        if len(document.words) < self.min_words:
            return "too-few-words"
        if len(document.words) > self.max_words:
            return "too-many-words"
        return None


FILTER = Length
