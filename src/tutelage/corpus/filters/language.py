"""Text of another language than asked for, as py3langid tells it.

A naive Bayes classifier over byte n-grams of 140 languages (after Lui and Baldwin 2012). FineWeb
keeps English from a probability of 0.65 (arXiv:2406.17557, section 3.3), C4 from 0.99. Needs the
`corpus` extra.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pydantic import field_validator

from tutelage.config import Frozen
from tutelage.corpus.documents import Document
from tutelage.corpus.extras import needed

MOST_CHARACTERS = 10_000
"""Of a text the beginning tells as much, and long texts cost time."""


class Language(Frozen):
    """Languages are two letters, as ISO 639-1 has them."""

    keep: tuple[str, ...] = ("en",)
    min_probability: float = 0.65

    @field_validator("keep", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    def judge(self, document: Document) -> str | None:
        language, probability = identify(document.text)
        if language not in self.keep:
            return "other-language"
        if probability < self.min_probability:
            return "language-unsure"
        return None


def identify(text: str) -> tuple[str, float]:
    """The language of a text, and the probability that it is.

    Raises ConfigError where py3langid is not installed.
    """
    language, probability = _classifier()(text[:MOST_CHARACTERS])
    return str(language), float(probability)


@functools.cache
def _classifier() -> Callable[[str], tuple[str, float]]:
    langid = needed("py3langid.langid", "corpus", "telling languages apart")
    made = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    found: Callable[[str], tuple[str, float]] = made.classify
    return found


FILTER = Language
