"""Choices by likelihood: the continuation a model finds likeliest, and how sure it is.

    p_k = softmax over choices of log p(choice_k | question)

Also texts by likelihood: perplexity and bits per byte. Knows the seam's `score` alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import NotNumbersError
from tutelage.lm import LM, Prompt, Score
from tutelage.progress import Progress, silent
from tutelage.score._calibration import brier_rows, ece_rows

BATCH = 64
"""Questions scored between two reports of progress."""


@dataclass(frozen=True)
class Choice:
    """A question's prompt, the continuations to choose from, and the right one's place; `also`
    are places of others that are right."""

    prompt: Prompt
    continuations: tuple[str, ...]
    right: int
    also: tuple[int, ...] = ()

    def nearest(self, place: int) -> int:
        """The right place that a choice is held against: itself, if it is one."""
        return place if place in self.also else self.right


@dataclass(frozen=True)
class Chosen:
    """`places` taken, `statistics` by metric, and the log-probabilities of each row's choices, as
    they are and as `probabilities` that sum to 1."""

    places: tuple[int, ...]
    statistics: dict[str, np.ndarray]
    logs: tuple[np.ndarray, ...]
    probabilities: tuple[np.ndarray, ...]
    seconds: float


def choose(lm: LM, choices: Sequence[Choice], progress: Progress = silent) -> Chosen:
    """The likeliest choice of each, and statistics of accuracy, ECE and Brier.

    Raises NotNumbersError where a probability is none.
    """
    begun = time.perf_counter()
    scores = _scored(lm, choices, progress)
    seconds = time.perf_counter() - begun
    logs = [np.array([score.log_probability for score in row]) for row in scores]
    lengths = [
        np.array([max(1, len(text.strip().encode())) for text in one.continuations])
        for one in choices
    ]
    places = [int(row.argmax()) for row in logs]
    per_byte = [int((row / size).argmax()) for row, size in zip(logs, lengths, strict=True)]
    right = [one.nearest(place) for one, place in zip(choices, places, strict=True)]
    probabilities = [_softmax(row) for row in logs]
    hits = np.array([p == r for p, r in zip(places, right, strict=True)], dtype=float)
    hits_per_byte = np.array(
        [p == one.nearest(p) for one, p in zip(choices, per_byte, strict=True)], dtype=float
    )
    confidence = np.array([float(row.max()) for row in probabilities])
    statistics = {
        "accuracy": np.column_stack([hits, np.ones(len(hits))]),
        "accuracy_per_byte": np.column_stack([hits_per_byte, np.ones(len(hits))]),
        "ece": ece_rows(confidence, hits),
        "brier": brier_rows(probabilities, right),
    }
    return Chosen(tuple(places), statistics, tuple(logs), tuple(probabilities), seconds)


def read_texts(lm: LM, pairs: Sequence[tuple[Prompt, str]]) -> dict[str, np.ndarray]:
    """Statistics [n, 2] of perplexity (nats, tokens) and bits per byte (bits, bytes)."""
    scores = lm.score(pairs)
    _check(scores)
    nats = np.array([-score.log_probability for score in scores])
    tokens = np.array([float(score.tokens) for score in scores])
    size = np.array([float(len(text.encode())) for _, text in pairs])
    return {
        "bits_per_byte": np.column_stack([nats / math.log(2), size]),
        "perplexity": np.column_stack([nats, tokens]),
    }


def _scored(lm: LM, choices: Sequence[Choice], progress: Progress) -> list[list[Score]]:
    found: list[list[Score]] = []
    for start in range(0, len(choices), BATCH):
        progress("questions", start, len(choices))
        part = choices[start : start + BATCH]
        flat = lm.score([(one.prompt, text) for one in part for text in one.continuations])
        _check(flat)
        scores = iter(flat)
        found += [[next(scores) for _ in one.continuations] for one in part]
    progress("questions", len(choices), len(choices))
    return found


def _check(scores: Sequence[Score]) -> None:
    for place, score in enumerate(scores):
        if math.isnan(score.log_probability) or score.log_probability == math.inf:
            raise NotNumbersError(
                "a log-probability is not a number",
                field=f"score {place}",
                got=score.log_probability,
                hint="the model's weights, or what they compute, are broken",
            )


def _softmax(logs: np.ndarray) -> np.ndarray:
    shifted = logs - logs.max()
    weights = np.exp(shifted)
    return np.asarray(weights / weights.sum())
