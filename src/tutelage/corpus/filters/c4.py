"""Pages of the web down to their sentences.

C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2), with the numbers of the program that made it
(5 words a line, 3 sentences a page; the paper's text is also cited with 3 and 5). Taken away are
lines that do not end in a mark of punctuation, lines of fewer than five words, lines that ask for
Javascript or speak of cookies and policies, lines with a word of more than 1,000 characters, and
marks of citation. Left out are pages with a curly bracket, with "lorem ipsum", and with fewer than
three sentences left. Not for poems, code or tables. C4's list of bad words is the filter
`bad-words`, its duplicate spans are left to `data dedup`.
"""

from __future__ import annotations

import re

from tutelage.config import Frozen
from tutelage.corpus.documents import Document

_ENDS = (".", "?", "!", '"', "”", "’", "'")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_SENTENCE_END = re.compile(r"[.?!][\"”’')\]]*(?=\s|$)")


class C4(Frozen):
    """What a line and a page need."""

    min_words_a_line: int = 5
    min_sentences: int = 3
    max_word_length: int = 1000
    curly_brackets: bool = False
    """Whether pages with curly brackets stay."""

    def clean(self, text: str) -> str:
        """The lines that are sentences; line breaks between them stay."""
        if self._placeholder(text) is not None:
            return text  # for `judge` to see what it is
        lines = (_CITATION.sub("", line).strip() for line in text.splitlines())
        return "\n".join(line for line in lines if self._is_sentence(line))

    def judge(self, document: Document) -> str | None:
        found = self._placeholder(document.text)
        if found is not None:
            return found
        if len(_SENTENCE_END.findall(document.text)) < self.min_sentences:
            return "too-few-sentences"
        return None

    def _placeholder(self, text: str) -> str | None:
        if "lorem ipsum" in text.lower():
            return "lorem-ipsum"
        if "{" in text and not self.curly_brackets:
            return "curly-bracket"
        return None

    def _is_sentence(self, line: str) -> bool:
        words, lower = line.split(), line.lower()
        return (
            line.endswith(_ENDS)
            and not line.endswith("...")
            and len(words) >= self.min_words_a_line
            and max(map(len, words)) <= self.max_word_length
            and "javascript" not in lower
            and not any(policy in lower for policy in _POLICIES)
        )


FILTER = C4
