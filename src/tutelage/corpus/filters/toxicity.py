"""Insults, threats and obscenity, by a classifier that scores passages of 100 words.

A document is left out where more than a tenth of its passages are toxic: a novel with a quarrel in
it stays. The classifier is alt-profanity-check's (the `toxicity` extra; a linear model of words,
which knows slurs and swearing and misses hatred in clean words), or one of your own, trained by
`tutelage data quality --good CLEAN --bad TOXIC --out DIR`. docs/corpus.md says how good each is.
"""

from __future__ import annotations

from tutelage.config import Frozen
from tutelage.corpus.documents import Document
from tutelage.corpus.extras import needed

WORDS = 100
"""Of one passage."""


class Toxicity(Frozen):
    """`threshold` is a probability, `max_share` of the passages."""

    threshold: float = 0.5
    max_share: float = 0.1
    model: str | None = None
    """The folder of a classifier; alt-profanity-check if none is named."""

    def judge(self, document: Document) -> str | None:
        words = document.words
        passages = [" ".join(words[n : n + WORDS]) for n in range(0, len(words), WORDS)]
        scores = self._scores(passages)
        toxic = sum(score >= self.threshold for score in scores)
        return "toxic" if toxic > self.max_share * len(passages) else None

    def _scores(self, passages: list[str]) -> list[float]:
        if self.model is None:
            check = needed("profanity_check", "toxicity", "the toxicity filter without a model")
            return [float(score) for score in check.predict_prob(passages)]
        from tutelage.corpus.quality import loaded

        classifier = loaded(self.model)
        return [1 - classifier(passage) for passage in passages]


FILTER = Toxicity
