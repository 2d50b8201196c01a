"""What a kind of tokenizer is: tokens each of its vocabularies must hold, and how it learns more.

Knows no kind; each is an entry of its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.text.tokenizer import SpecialTokens

Words = Mapping[str, int]
"""Words as the model of a tokenizer is handed them -> how often they occur."""
Cut = Callable[[str], list[str]]
"""A word -> its tokens, as the vocabulary spells them."""

FEWEST = 2
"""Occurrences below which nothing is learnt: what is seen once says nothing about other text."""


@dataclass(frozen=True)
class Base:
    """The tokens a vocabulary holds before anything is learnt, control tokens aside."""

    tokens: tuple[str, ...]
    what: str
    """What they are for, for the message that there is no room for them."""
    characters: frozenset[str] | None = None
    """Characters with a token of their own; None where bytes make all characters equal."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One way to cut text into tokens.

    `base(texts)` finds what must be there. `learn(texts, size, control, base)` returns a trained
    `tokenizers.Tokenizer` of at most `size` tokens, the control tokens first; the same texts give
    the same tokenizer. `grow(model, words, cut, count)` returns tokenizer.json's model with at most
    `count` tokens more, for the words of a domain that `cut` cuts.
    """

    name: str
    model: str
    """Type of the model in tokenizer.json."""
    special: SpecialTokens
    control: tuple[str, ...]
    """Control tokens every vocabulary of this kind has, in the order of their ids from 0."""
    sentinels: int
    """Sentinels where no number is asked for."""
    base: Callable[[Sequence[str]], Base]
    learn: Callable[[Iterable[str], int, Sequence[str], Base], Any]
    grow: Callable[[Mapping[str, Any], Words, Cut, int], dict[str, Any]]


def split_words(words: Words, cut: Cut, count: int, unknown: str | None = None) -> list[str]:
    """At most `count` words that are cut into several tokens, or unknown, best first.

    The best save the most tokens: occurrences times (tokens - 1). Equals stand in the order of
    their spelling.
    """
    saved: dict[str, int] = {}
    for word, times in words.items():
        tokens = cut(word)
        if times >= FEWEST and (len(tokens) > 1 or unknown in tokens):
            saved[word] = times * max(len(tokens) - 1, 1)
    return sorted(saved, key=lambda word: (-saved[word], word))[:count]
