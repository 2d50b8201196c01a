"""ROUGE F measures by Google's rouge-score, stemmer off (Lin 2004).

rouge-score knows the tokens [a-z0-9]+ alone: text in other scripts has no tokens and scores 0,
which is its documented behaviour and is kept, so that numbers compare with other people's.
"""

from __future__ import annotations

import functools
from typing import Any

from tutelage.score._metric import Metric, mean_of


def rouge(kind: str) -> Metric:
    """The metric `kind` (rouge1, rouge2, rougeL): the mean F measure over rows."""

    def score(reference: str, answer: str) -> float:
        return float(_scorer(kind).score(reference, answer)[kind].fmeasure)

    return mean_of(kind, score)


@functools.cache
def _scorer(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, half a second

    return RougeScorer([kind], use_stemmer=False)
