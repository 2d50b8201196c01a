"""Lists, menus and broken lines, as FineWeb leaves them out.

FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6): pages where at most 12% of the lines
end in punctuation, where lines that repeat an earlier one hold at least 10% of the characters, or
where at least 67% of the lines have fewer than 30 characters.
"""

from __future__ import annotations

from tutelage.config import Frozen
from tutelage.corpus.documents import Document
from tutelage.corpus.filters.repetition import repeats

_ENDS = (".", "?", "!", '"', "'", "”", "’", "…", "。")


class FineWeb(Frozen):
    """Shares are of the lines, and of the characters."""

    min_punctuated_lines: float = 0.12
    max_repeated_characters: float = 0.10
    max_short_lines: float = 0.67
    short_line: int = 30
    """A line of fewer characters is short."""

    def judge(self, document: Document) -> str | None:
        lines = document.lines
        count = max(len(lines), 1)
        if sum(line.endswith(_ENDS) for line in lines) / count <= self.min_punctuated_lines:
            return "lines-without-punctuation"
        if repeats(lines)[1] >= self.max_repeated_characters:
            return "repeated-line-characters"
        short = sum(len(line) < self.short_line for line in lines)
        if short / count >= self.max_short_lines and len(lines) > 1:
            return "short-lines"
        return None


FILTER = FineWeb
