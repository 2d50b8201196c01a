"""Which characters of a text get a token of their own.

All but the rarest: those that together make up less than a ten-thousandth of the text are left to
the kind's way for what is unknown, as one stray character of each script on earth would fill a
small vocabulary (SentencePiece's character coverage; Kudo and Richardson 2018). The characters of
ASCII always have one: novels hold no `|`, but what is read later may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COVERAGE = 0.9999
"""Share of the characters of a text, as they occur, that have a token of their own."""
ASCII = frozenset(map(chr, range(0x21, 0x7F)))
"""What is printable but for the space."""
GAP = "\n"
"""Stands in the place of a rare character in what is learnt from; no word runs across it."""


@dataclass(frozen=True)
class Alphabet:
    """The characters with a token of their own; how many have none, and their share of the text."""

    kept: frozenset[str]
    rare: int
    rare_share: float

    def note(self, fate: str) -> tuple[str, ...]:
        """A sentence on the rare characters, if there are any, and what becomes of them."""
        if not self.rare:
            return ()
        share = f"{self.rare_share:.1g} of the text"
        return (f"rare characters without a token of their own: {self.rare} ({share}); {fate}",)


def alphabet(texts: Iterable[str], without: frozenset[str] = frozenset()) -> Alphabet:
    """The most frequent characters that make up COVERAGE of the texts, equals by their code; and
    those of ASCII.

    Characters of `without` are never among them, nor is NUL, by which the library ends words.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    for character in counts.keys() & (without | {"\0"}):
        del counts[character]
    total = counts.total()
    kept: set[str] = set()
    covered = 0
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        if covered >= COVERAGE * total:
            break
        kept.add(character)
        covered += counts[character]
    rare = counts.keys() - (kept | ASCII)
    share = sum(counts[character] for character in rare) / max(total, 1)
    return Alphabet(frozenset(kept | ASCII), len(rare), share)


def only(texts: Iterable[str], kept: frozenset[str]) -> Iterator[str]:
    """The texts with a gap for each character that is not among `kept`."""
    for text in texts:
        rare = set(text) - kept
        yield text.translate({ord(character): GAP for character in rare}) if rare else text
