"""Marks instead of sentences: hash signs, ellipses, bullets.

Gopher (Rae et al. 2021, arXiv:2112.11446, A.1.1): at most one hash sign or ellipsis for ten words,
at most 90% of the lines begin with a bullet, at most 30% end with an ellipsis.
"""

from __future__ import annotations

import re

from tutelage.config import Frozen
from tutelage.corpus.documents import Document

_ELLIPSIS = re.compile(r"\.\.\.|…")
_BULLETS = ("•", "‣", "◦", "▪", "●", "-", "*", "–")


class Symbols(Frozen):
    """Shares are 0 to 1, of the words or of the lines."""

    max_hashes_per_word: float = 0.1
    max_ellipses_per_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3

    def judge(self, document: Document) -> str | None:
        words, lines = max(len(document.words), 1), max(len(document.lines), 1)
        if document.text.count("#") / words > self.max_hashes_per_word:
            return "too-many-hashes"
        if len(_ELLIPSIS.findall(document.text)) / words > self.max_ellipses_per_word:
            return "too-many-ellipses"
        bullets = sum(line.startswith(_BULLETS) for line in document.lines)
        if bullets / lines > self.max_bullet_lines:
            return "too-many-bullets"
        ending = sum(line.endswith(("...", "…")) for line in document.lines)
        if ending / lines > self.max_ellipsis_lines:
            return "too-many-ellipsis-lines"
        return None


FILTER = Symbols
