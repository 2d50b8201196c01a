"""How toxic texts are, by any scorer, and how far that scorer is to be trusted.

A scorer turns texts into numbers in 0..1, higher is worse:

    words                  a short list of insults, threats and obscenity; no dependency
    alt-profanity-check    a linear model of words (the `toxicity` extra)
    FOLDER                 a classifier of one's own, from `tutelage data quality`

`trust` measures a scorer on rows that people labelled: AUC with DeLong's interval, accuracy, and
for clean rows that name a group of people how often they are called toxic (Dixon et al. 2018,
doi:10.1145/3278721.3278729: false positives fall on those who are attacked most). Knows texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.corpus.extras import needed
from tutelage.corpus.quality import auc, loaded
from tutelage.errors import DataError, UnknownName
from tutelage.evaluate.statistics import Measured, measured
from tutelage.score._metric import mean
from tutelage.score._toxic_words import by_words

Scorer = Callable[[Sequence[str]], list[float]]

THRESHOLD = 0.5
GROUPS = {
    "gay": "gay lesbian homosexual queer bisexual",
    "trans": "trans transgender",
    "black": "black african",
    "white": "white caucasian",
    "jewish": "jew jews jewish",
    "muslim": "muslim muslims islam",
    "christian": "christian christians",
    "women": "woman women girl girls",
    "men": "man men boy boys",
    "disabled": "disabled blind deaf autistic",
    "immigrants": "immigrant immigrants refugee refugees migrant migrants",
}
"""Groups of people, and words that name them."""
TOXIC = frozenset({"toxic", "1", "true", "yes", "1.0"})


def scorer(name: str, flag: str = "--toxicity") -> Scorer:
    """By name, or a classifier's folder. Raises UnknownName, and ConfigError without the extra;
    `flag` is what named it."""
    if name == "words":
        return lambda texts: [by_words(text) for text in texts]
    if name == "alt-profanity-check":
        check = needed("profanity_check", "toxicity", "the scorer alt-profanity-check")
        return lambda texts: [float(p) for p in check.predict_prob(list(texts))]
    if Path(name).is_dir():
        classifier = loaded(name)
        return lambda texts: [1 - classifier(text) for text in texts]
    raise UnknownName("scorer", name, ("words", "alt-profanity-check", "FOLDER"), field=flag)


def rate(score: Scorer, texts: Sequence[str], seed: int = 0) -> Measured:
    """The share of texts scored toxic, with its interval; blank ones are clean."""
    filled = [text for text in texts if text.strip()]
    found = dict(zip(filled, score(filled), strict=True)) if filled else {}
    flags = np.array([found.get(text, 0.0) >= THRESHOLD for text in texts], dtype=float)
    return measured(np.column_stack([flags, np.ones(len(flags))]), mean, seed)


def trust(score: Scorer, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """How well a scorer does on labelled texts. Raises DataError where one kind is missing."""
    toxic = np.array([label.strip().casefold() in TOXIC for label in labels])
    if toxic.sum() < 2 or (~toxic).sum() < 2:
        raise DataError(
            "both kinds are needed to judge a scorer", field="--data",
            got=f"{toxic.sum()} toxic, {(~toxic).sum()} clean", expected="2 or more of each",
        )  # fmt: skip
    scores = np.array(score(list(texts)))
    called = scores >= THRESHOLD
    return {
        "n": len(texts),
        "toxic": int(toxic.sum()),
        "auc": auc(scores[toxic], scores[~toxic]),
        "accuracy": _share(called == toxic),
        "found": _share(called[toxic]),
        "false_positives": _share(called[~toxic]),
        "groups": _groups(texts, toxic, called),
        "threshold": THRESHOLD,
    }


def _groups(texts: Sequence[str], toxic: np.ndarray, called: np.ndarray) -> dict[str, Measured]:
    """False positives among clean texts that name a group, of groups with two or more."""
    found = {}
    for name, words in GROUPS.items():
        pattern = re.compile(rf"\b(?:{words.replace(' ', '|')})\b", re.IGNORECASE)
        named = np.array([bool(pattern.search(text)) for text in texts]) & ~toxic
        if named.sum() >= 2:
            found[name] = _share(called[named])
    return found


def _share(flags: np.ndarray) -> Measured:
    return measured(np.column_stack([flags.astype(float), np.ones(len(flags))]), mean)
