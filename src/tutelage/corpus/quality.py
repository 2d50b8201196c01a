"""A small trained classifier of texts: good against bad, as two corpora show it.

Features are hashed runs of 1 and 2 words and of 2 to 4 bytes of the lower-cased text, as tf-idf of
unit length; the classifier is logistic regression, fitted by AdaGrad over a few rounds (Duchi et
al. 2011). GPT-3 and others chose their web text with one of this kind (Brown et al. 2020,
arXiv:2005.14165, appendix A). What it finds good is what resembles the good examples, no more: its
AUC on held-out texts is stored with it.

The same examples and seed give the same classifier, bit for bit.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import math
import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage import store
from tutelage.config import Frozen
from tutelage.errors import DamagedError, DataError

BUCKETS = 2**18
MOST_CHARACTERS = 20_000
"""Of a text the beginning is looked at."""
ROUNDS = 5
RATE = 0.1
HELD_OUT = 0.2
FEWEST, MOST = 20, 5000
"""Examples of each kind. Of more texts those with the smallest hashes are taken."""
FILE, WEIGHTS = "classifier.json", "weights.safetensors"

Features = tuple[np.ndarray, np.ndarray]
"""Buckets, each once, and their values."""


class About(Frozen):
    """What a classifier learned from and how well it tells held-out texts apart."""

    good: int
    bad: int
    held_out: int
    auc: dict[str, Any]
    """The area under the ROC curve on held-out texts, with its 95% interval."""
    accuracy: float
    """On held-out texts at 0.5, each kind weighing the same."""
    bias: float


@dataclass(frozen=True)
class Classifier:
    """Weights of the buckets, and what is known about them."""

    weights: np.ndarray
    idf: np.ndarray
    about: About

    def __call__(self, text: str) -> float:
        """The probability that a text is good."""
        return _sigmoid(_dot(_weighted(features(text), self.idf), self.weights) + self.about.bias)

    def save(self, out: Path) -> None:
        """Write a folder; replaces an earlier one."""
        from safetensors.numpy import save

        with store.new_folder(out) as inside:
            store.write_bytes(inside / WEIGHTS, save({"weights": self.weights, "idf": self.idf}))
            store.write_json(inside / FILE, self.about.model_dump(mode="json"))


def load(path: Path) -> Classifier:
    """A classifier that `save` wrote. Raises DataError where there is none, DamagedError where it
    is not what was written."""
    from safetensors.numpy import load_file

    if not (path / FILE).is_file():
        raise DataError(
            f"{path} is no classifier",
            field=str(path),
            hint="make one with: tutelage data quality --good DATA --bad DATA --out DIR",
        )
    store.verify(path)
    try:
        about = About.model_validate(store.read_json(path / FILE))
        arrays = load_file(path / WEIGHTS)
        return Classifier(arrays["weights"], arrays["idf"], about)
    except (ValueError, KeyError):
        raise DamagedError(f"{path / FILE} is damaged", field=str(path / FILE)) from None


@functools.lru_cache(maxsize=8)
def loaded(path: str) -> Classifier:
    """`load`, once a process."""
    return load(Path(path))


def train(good: Iterable[str], bad: Iterable[str], seed: int = 0) -> Classifier:
    """A classifier from texts of both kinds. A fifth of each, by a hash of the text, is held out.

    Raises DataError for fewer than 20 of a kind.
    """
    kinds = {"good": _examples(good, 1), "bad": _examples(bad, 0)}
    for name, found in kinds.items():
        if len(found) < FEWEST:
            raise DataError(
                f"too few {name} texts to learn from", field=f"--{name}", got=len(found),
                expected=f"at least {FEWEST} different ones",
            )  # fmt: skip
    examples = [*kinds["good"], *kinds["bad"]]
    learned = [one for one in examples if not one.held_out]
    tested = [one for one in examples if one.held_out]
    idf = _idf([one.features for one in learned])
    weights, bias = _fitted(learned, idf, seed)
    scores = np.array([_dot(_weighted(one.features, idf), weights) + bias for one in tested])
    truth = np.array([one.label for one in tested])
    about = About(
        good=len(kinds["good"]),
        bad=len(kinds["bad"]),
        held_out=len(tested),
        auc=auc(scores[truth == 1], scores[truth == 0]),
        accuracy=float(np.mean([np.mean((scores[truth == k] > 0) == k) for k in (0, 1)])),
        bias=bias,
    )
    return Classifier(weights.astype(np.float32), idf.astype(np.float32), about)


def features(text: str) -> Features:
    """The buckets of a text with 1 + log of their counts."""
    lower = text[:MOST_CHARACTERS].lower()
    words = np.array([zlib.crc32(word.encode()) for word in lower.split()], dtype=np.uint64)
    letters = np.frombuffer(lower.encode("utf-8", "replace"), dtype=np.uint8).astype(np.uint64)
    runs = [_runs(words, n, salt=n) for n in (1, 2)]
    runs += [_runs(letters, n, salt=8 + n) for n in (2, 3, 4)]
    found, counts = np.unique(np.concatenate(runs), return_counts=True)
    return found.astype(np.int32), (1 + np.log(counts)).astype(np.float32)


def auc(good: np.ndarray, bad: np.ndarray) -> dict[str, Any]:
    """The probability that a good text scores above a bad one, with the 95% interval of DeLong et
    al. (1988)."""
    above = (good[:, None] > bad[None, :]) + 0.5 * (good[:, None] == bad[None, :])
    value = float(above.mean())
    spread = above.mean(axis=1).var(ddof=1) / len(good) + above.mean(axis=0).var(ddof=1) / len(bad)
    width = 1.96 * math.sqrt(spread)
    return {
        "value": value, "low": max(0.0, value - width), "high": min(1.0, value + width),
        "n": len(good) + len(bad),
    }  # fmt: skip


@dataclass(frozen=True)
class _Example:
    features: Features
    label: int
    held_out: bool


def _examples(texts: Iterable[str], label: int) -> list[_Example]:
    """Each text once: one that stands on both sides of the split would be remembered, not told.
    Of each kind a fifth is held out, those with the smallest hashes of another kind."""
    chosen: dict[int, str] = {}
    largest: list[int] = []
    for text in texts:
        shown = text[:MOST_CHARACTERS]
        digest = hashlib.blake2b(shown.encode("utf-8", "replace"), digest_size=16).digest()
        key = int.from_bytes(digest)
        if key in chosen or not shown.strip() or (len(chosen) == MOST and key > -largest[0]):
            continue
        chosen[key] = shown
        heapq.heappush(largest, -key)
        if len(chosen) > MOST:
            del chosen[-heapq.heappop(largest)]
    order = sorted(chosen, key=lambda key: key % 2**64)
    out = set(order[: round(HELD_OUT * len(order))])
    return [_Example(features(chosen[key]), label, key in out) for key in sorted(chosen)]


def _runs(values: np.ndarray, n: int, salt: int) -> np.ndarray:
    """Buckets of all runs of n values."""
    if len(values) < n:
        return np.empty(0, dtype=np.uint64)
    total = np.full(len(values) - n + 1, salt, dtype=np.uint64)
    for start in range(n):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[start : len(values) - n + 1 + start]
    total = (total ^ (total >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return (total >> np.uint64(32)) % np.uint64(BUCKETS)


def _idf(rows: Sequence[Features]) -> np.ndarray:
    """log((1 + n) / (1 + documents with the bucket)) + 1."""
    counts = np.zeros(BUCKETS)
    for buckets, _ in rows:
        counts[buckets] += 1
    return np.log((1 + len(rows)) / (1 + counts)) + 1


def _weighted(row: Features, idf: np.ndarray) -> Features:
    buckets, counts = row
    values = counts * idf[buckets]
    length = np.linalg.norm(values)
    return buckets, values / length if length else values


def _dot(row: Features, weights: np.ndarray) -> float:
    return float(row[1] @ weights[row[0]])


def _fitted(examples: Sequence[_Example], idf: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Weights and bias, both kinds weighing the same however many there are of each."""
    rows = [(_weighted(one.features, idf), one.label) for one in examples]
    good = sum(label for _, label in rows)
    share = {1: len(rows) / (2 * good), 0: len(rows) / (2 * (len(rows) - good))}
    weights, squares = np.zeros(BUCKETS), np.full(BUCKETS, 1e-8)
    bias, bias_square = 0.0, 1e-8
    for turn in range(ROUNDS):
        order = list(range(len(rows)))
        random.Random(f"{seed}:{turn}").shuffle(order)
        for number in order:
            row, label = rows[number]
            error = share[label] * (_sigmoid(_dot(row, weights) + bias) - label)
            slope = error * row[1]
            squares[row[0]] += slope**2
            weights[row[0]] -= RATE * slope / np.sqrt(squares[row[0]])
            bias_square += error**2
            bias -= RATE * error / math.sqrt(bias_square)
    return weights, bias


def _sigmoid(value: Any) -> float:
    return float(1 / (1 + math.exp(-value))) if value > -700 else 0.0
