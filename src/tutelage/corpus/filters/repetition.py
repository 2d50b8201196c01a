"""Text that repeats itself, as menus, spam and broken pages do.

Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), all shares of the document:

    lines that repeat an earlier one, or paragraphs             0.30 of them, 0.20 of the characters
    characters in the most frequent run of 2, 3, 4 words        0.20, 0.18, 0.16
    characters in repeated runs of 5, 6, 7, 8, 9, 10 words      0.15, 0.14, 0.13, 0.12, 0.11, 0.10

Here the first occurrence counts as original and the later ones as repeats, and a character in
several repeated runs counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.corpus.documents import Document


class Repetition(Frozen):
    """The shares above which a document is left out."""

    max_lines: float = 0.30
    max_line_characters: float = 0.20
    max_paragraphs: float = 0.30
    max_paragraph_characters: float = 0.20
    max_top_runs: tuple[float, ...] = (0.20, 0.18, 0.16)
    """Of 2, 3, 4 words and so on."""
    max_repeated_runs: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    """Of 5, 6, 7 words and so on."""

    def judge(self, document: Document) -> str | None:
        parts = (
            (document.paragraphs, self.max_paragraphs, self.max_paragraph_characters, "paragraphs"),
            (document.lines, self.max_lines, self.max_line_characters, "lines"),
        )
        for pieces, most, most_characters, what in parts:
            share, characters = repeats(pieces)
            if share > most or characters > most_characters:
                return f"repeated-{what}"
        words = document.words
        if any(top_run(words, n) > most for n, most in enumerate(self.max_top_runs, 2)):
            return "one-phrase-over-and-over"
        if self._repeats_runs(words):
            return "repeated-phrases"
        return None

    def _repeats_runs(self, words: Sequence[str]) -> bool:
        """Every word of a long repeated run stands in a short one, so the shortest come first and
        mostly settle it."""
        lowest = min(self.max_repeated_runs, default=1.0)
        for n, most in enumerate(self.max_repeated_runs, 5):
            share = repeated_runs(words, n)
            if share > most:
                return True
            if share <= lowest:
                return False
        return False


def repeats(pieces: Sequence[str]) -> tuple[float, float]:
    """The share of pieces that repeat an earlier one, and their share of the characters."""
    seen: set[str] = set()
    count, characters = 0, 0
    for piece in pieces:
        if piece in seen:
            count += 1
            characters += len(piece)
        seen.add(piece)
    total = sum(map(len, pieces))
    return count / max(len(pieces), 1), characters / max(total, 1)


def top_run(words: Sequence[str], n: int) -> float:
    """The share of all characters that stands in the most frequent run of n words; 0 if none comes
    twice."""
    counts = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    if not counts:
        return 0.0
    most = max(counts.values())
    if most == 1:
        return 0.0
    longest = max(sum(map(len, run)) for run, count in counts.items() if count == most)
    return min(1.0, most * longest / max(sum(map(len, words)), 1))


def repeated_runs(words: Sequence[str], n: int) -> float:
    """The share of all characters that stands in runs of n words which came before."""
    seen: set[tuple[str, ...]] = set()
    characters, marked = 0, 0
    for start, run in enumerate(zip(*(words[k:] for k in range(n)), strict=False)):
        if run in seen:
            characters += sum(map(len, words[max(start, marked) : start + n]))
            marked = start + n
        else:
            seen.add(run)
    return characters / max(sum(map(len, words)), 1)


FILTER = Repetition
