"""Text away from the task, on which forgetting is measured: how much worse does a tuned model
predict what it was not tuned on?

Without a source it is the prose of Python's language reference: English sentences, but about
Python, so near to a programming task and far from most others. A user's own text is better where
there is any. Knows which text; measuring is for others.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tutelage.data.load import load
from tutelage.data.near_duplicates import first_likes, row_text
from tutelage.data.rows import Row
from tutelage.errors import DataError

DEFAULT = "builtin:stdlib-docs"
TEXTS = 48
FEWEST_WORDS, MOST_WORDS = 60, 120
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MARK_UP = re.compile(r"[*`_]{1,2}(?=\w)|(?<=\w)[*`_]{1,2}")
_CODE = re.compile(r"“|^(Changed|New) in version|>>>|::=|[{}=|<>]|\w\(|^\s*\+-|---|\.\.\. ")


@dataclass(frozen=True)
class Retention:
    """Short texts, and what they are in words that a report can print."""

    name: str
    description: str
    texts: tuple[str, ...]


def retention(source: str | None = None, n: int = TEXTS, seed: int = 0) -> Retention:
    """`n` texts of 60 to 120 words from `source`, the same for the same seed.

    Sentences of one document are put together in their order; paragraphs that look like code or
    tables are left out. Raises DataError where there are fewer than n.
    """
    name = source or DEFAULT
    found = [text for row in load(name).rows for text in passages(row)]
    likes = first_likes(found)
    found = [text for text, like in zip(found, likes, strict=True) if like is None]
    if len(found) < n:
        raise DataError(
            f"{name} holds too little prose to measure forgetting on",
            field=name,
            got=f"{len(found)} passages of {FEWEST_WORDS} to {MOST_WORDS} words",
            expected=n,
        )
    found.sort(key=lambda text: hashlib.sha256(f"{seed}\x1f{text}".encode()).hexdigest())
    return Retention(name, _description(source), tuple(found[:n]))


def passages(row: Row) -> Iterator[str]:
    """Sentences of a row's text put together in their order, 60 to 120 words each."""
    return _passages(_paragraphs(row_text(row)))


def _description(source: str | None) -> str:
    size = f"passages of {FEWEST_WORDS} to {MOST_WORDS} words"
    if source is not None:
        return f"{size} from {source}"
    return (
        f"{size} of English prose from the language reference of Python "
        f"{platform.python_version()}, without its code and tables; it was surely in the model's "
        "pretraining, and it is near to tasks about Python"
    )


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of prose: several words, sentences that end, no code, no table."""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip("\n").split("\n")
        joined = _MARK_UP.sub("", " ".join(line.strip() for line in lines))
        prose = joined.rstrip().endswith((".", "!", "?")) and joined[:1].isupper()
        if prose and len(joined.split()) >= 8 and not _CODE.search(joined):
            yield re.sub(r"\s+", " ", joined)


def _passages(paragraphs: Iterator[str]) -> Iterator[str]:
    """Whole sentences put together until there are enough words; what remains is left out."""
    words: list[str] = []
    for paragraph in paragraphs:
        for sentence in _SENTENCE.split(paragraph):
            more = sentence.split()
            if len(words) + len(more) > MOST_WORDS:
                words = []
            if len(more) <= MOST_WORDS:
                words += more
            if len(words) >= FEWEST_WORDS:
                yield " ".join(words)
                words = []
