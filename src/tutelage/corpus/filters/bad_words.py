"""Pages with a word from a list, as C4 leaves them out (arXiv:1910.10683, section 2.2).

C4 used a public list of some 400 obscene words. No list ships here: such a list also removes much
that is said by and about minorities (Dodge et al. 2021, arXiv:2104.08758), and belongs to whoever
answers for the corpus. A file holds one word or phrase a line.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tutelage.config import Frozen
from tutelage.corpus.documents import Document
from tutelage.errors import ConfigError


class BadWords(Frozen):
    """Case and white space aside, whole words are meant."""

    file: str
    """One word or phrase a line."""

    def judge(self, document: Document) -> str | None:
        text = " ".join(word.casefold() for word in document.words)
        return "bad-word" if _pattern(self.file).search(text) else None


@functools.lru_cache(maxsize=8)
def _pattern(file: str) -> re.Pattern[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}", field="bad-words.file") from None
    words = [" ".join(line.casefold().split()) for line in lines if line.strip()]
    if not words:
        raise ConfigError(f"{file} names no word", field="bad-words.file", got=file)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")


FILTER = BadWords
