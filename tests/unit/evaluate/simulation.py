"""Simulated rows with known truth, and how often an interval or a test is right about them.

`python -m tests.unit.evaluate.simulation` prints the table of docs/measuring.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tutelage.evaluate.differences import difference_interval
from tutelage.evaluate.randomization import p_value
from tutelage.evaluate.statistics import measured
from tutelage.score import METRICS
from tutelage.score._metric import mean

Generator = np.random.Generator
Draw = Callable[[Generator, int], np.ndarray]
"""n rows of statistics [n, k]."""
DrawPair = Callable[[Generator, int], tuple[np.ndarray, np.ndarray]]
TRIALS = 1000


@dataclass(frozen=True)
class Single:
    name: str
    draw: Draw
    truth: float
    aggregate: Callable[[np.ndarray], np.ndarray] = mean
    limits: tuple[float, float] | None = (0.0, 1.0)
    clustered: bool = False
    """The last column is the cluster."""


@dataclass(frozen=True)
class Paired:
    name: str
    draw: DrawPair
    truth: float
    aggregate: Callable[[np.ndarray], np.ndarray] = mean


def rows(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def coverage(case: Single, n: int, trials: int = TRIALS, seed: int = 11) -> float:
    """Share of intervals that hold the truth."""
    generator = np.random.default_rng([seed, n])
    held = 0
    for _ in range(trials):
        drawn = case.draw(generator, n)
        clusters = drawn[:, -1].tolist() if case.clustered else None
        statistics = drawn[:, :-1] if case.clustered else drawn
        found = measured(statistics, case.aggregate, clusters=clusters, limits=case.limits)
        held += found["low"] <= case.truth <= found["high"]
    return held / trials


def paired(case: Paired, n: int, trials: int = TRIALS, seed: int = 13) -> float:
    """Share of difference intervals that hold the truth."""
    generator = np.random.default_rng([seed, n])
    held = 0
    for _ in range(trials):
        a, b = case.draw(generator, n)
        low, high = difference_interval(a, b, case.aggregate, 0)
        held += low <= case.truth <= high
    return held / trials


def p_values(case: Paired, n: int, trials: int = TRIALS, seed: int = 17) -> np.ndarray:
    """The p-values of as many experiments."""
    generator = np.random.default_rng([seed, n])
    found = [p_value(*case.draw(generator, n), case.aggregate, 0) for _ in range(trials)]
    return np.array(found)


def beta(a: float, b: float) -> Single:
    return Single(f"graded, Beta({a:g}, {b:g})", lambda g, n: rows(g.beta(a, b, n)), a / (a + b))


def sparse(share: float, at: float) -> Single:
    """Most rows score exactly `at`, the others lie anywhere."""

    def draw(generator: Generator, n: int) -> np.ndarray:
        other = generator.random(n) < share
        return rows(np.where(other, generator.beta(2, 2, n), at))

    return Single(f"graded, {1 - share:.0%} exactly {at:g}", draw, share * 0.5 + (1 - share) * at)


def bernoulli(p: float) -> Single:
    return Single(f"0/1, p = {p:g}", lambda g, n: rows((g.random(n) < p) * 1.0), p)


def _token_losses(name: str, loss: Callable[[Generator, int], np.ndarray], truth: float) -> Single:
    """Rise of loss over texts of very different lengths, independent of the rise."""

    def draw(generator: Generator, n: int) -> np.ndarray:
        tokens = np.ceil(generator.lognormal(4, 0.7, n))
        return np.column_stack([loss(generator, n) * tokens, tokens])

    return Single(name, draw, truth, limits=None)


def _clusters(generator: Generator, n: int) -> np.ndarray:
    """0/1 rows of n sources with 1 to 9 rows each; rows of one source are much alike."""
    sizes = generator.integers(1, 10, n)
    source = np.repeat(np.arange(n), sizes)
    right = generator.random(len(source)) < generator.beta(1, 3, n)[source]
    return np.column_stack([rows(right * 1.0), source])


def _population(metric: str, quality: tuple[float, float], seed: int = 5) -> np.ndarray:
    """Statistics of 4,000 sentences of a Zipf vocabulary and noisy copies of them."""
    generator, numbers = random.Random(seed), np.random.default_rng(seed)
    weights = 1 / np.arange(1, 2001)
    words = [f"w{index:x}" for index in range(2000)]
    references, answers = [], []
    for length in numbers.integers(5, 20, 4000):
        sentence = numbers.choice(words, length, p=weights / weights.sum()).tolist()
        kept = generator.betavariate(*quality)
        noisy = [w if generator.random() < kept else generator.choice(words) for w in sentence]
        if generator.random() < 0.3:
            noisy = noisy[: max(1, 2 * len(noisy) // 3)]
        references.append(" ".join(sentence))
        answers.append(" ".join(noisy))
    return METRICS.get(metric).statistics(references, answers)


def corpus(metric: str, quality: tuple[float, float]) -> Single:
    population = _population(metric, quality)
    aggregate = METRICS.get(metric).aggregate
    truth = float(aggregate(population.sum(axis=0)))

    def draw(generator: Generator, n: int) -> np.ndarray:
        return population[generator.integers(0, len(population), n)]

    return Single(f"{metric} at {truth:.2f}", draw, truth, aggregate)


def corpus_pair(metric: str, one: tuple[float, float], other: tuple[float, float]) -> Paired:
    a, b = _population(metric, one), _population(metric, other, seed=6)
    aggregate = METRICS.get(metric).aggregate
    truth = float(aggregate(a.sum(axis=0)) - aggregate(b.sum(axis=0)))

    def draw(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = generator.integers(0, len(a), n)
        return a[chosen], b[chosen]

    return Paired(f"{metric}, difference {truth:.2f}", draw, truth, aggregate)


def exchangeable(metric: str) -> Paired:
    """Two systems drawn from one: which is which is a coin's fall for every row."""
    a, b = _population(metric, (3, 1.5)), _population(metric, (2, 2), seed=6)
    aggregate = METRICS.get(metric).aggregate

    def draw(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        chosen, swap = generator.integers(0, len(a), n), generator.random((n, 1)) < 0.5
        return np.where(swap, a[chosen], b[chosen]), np.where(swap, b[chosen], a[chosen])

    return Paired(f"{metric}, exchangeable", draw, 0.0, aggregate)


def graded_pair(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Equally good, on rows of different difficulty."""
    difficulty = generator.beta(2, 4, n)
    one, other = (generator.beta(8 * difficulty + 0.2, 8.2 - 8 * difficulty) for _ in range(2))
    return rows(one), rows(other)


def _better(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    base = generator.beta(2, 6, n)
    return rows(base + (1 - base) * generator.beta(1, 3, n)), rows(base)


def _rarely_different(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    base, differs = generator.beta(2, 4, n), generator.random(n) < 0.2
    return rows(np.where(differs, generator.beta(3, 3, n), base)), rows(base)


def cells(both: float, only_a: float, only_b: float) -> Paired:
    """0/1 rows by the share that both, only one and only the other get right."""

    def draw(generator: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        u = generator.random(n)
        a = u < both + only_a
        b = (u < both) | ((u >= both + only_a) & (u < both + only_a + only_b))
        return rows(a * 1.0), rows(b * 1.0)

    return Paired(f"0/1, {only_a:g} against {only_b:g} alone right", draw, only_a - only_b)


MEANS = [
    beta(0.5, 4),
    beta(2, 8),
    beta(5, 3),
    beta(8, 0.8),
    sparse(0.5, 0.0),
    sparse(0.2, 0.0),
    sparse(0.1, 1.0),
    Single("0/1 in clusters, n sources", _clusters, 0.25, clustered=True),
]
UNBOUNDED = [
    _token_losses("rise of loss, normal", lambda g, n: g.normal(0.05, 0.15, n), 0.05),
    _token_losses("rise of loss, skewed", lambda g, n: g.gamma(1.0, 0.1, n), 0.1),
]
BERNOULLI = (0.05, 0.3, 0.5, 0.9)
SIZES = (50, 100, 200)


def corpora() -> list[Single]:
    return [
        corpus("bleu", (3, 1.5)),
        corpus("bleu", (1, 4)),
        corpus("chrf", (1, 4)),
        corpus("chrf", (3, 1.5)),
    ]


def pairs() -> list[Paired]:
    return [
        Paired("graded, equally good", graded_pair, 0.0),
        Paired("graded, better", _better, 0.75 * 0.25),
        Paired("graded, 80% ties", _rarely_different, 0.2 * (0.5 - 1 / 3)),
        cells(0.5, 0.1, 0.1),
        cells(0.3, 0.2, 0.1),
        cells(0.1, 0.3, 0.05),
        cells(0.05, 0.9, 0.0),
        corpus_pair("bleu", (3, 1.5), (2, 2)),
        corpus_pair("chrf", (3, 1.5), (2, 2)),
    ]


def main() -> None:
    for case in [*map(bernoulli, BERNOULLI), *MEANS, *UNBOUNDED, *corpora()]:
        shares = [f"{100 * coverage(case, n):.1f}" for n in SIZES]
        print(f"| {case.name} | {' | '.join(shares)} |", flush=True)
    for pair in pairs():
        shares = [f"{100 * paired(pair, n):.1f}" for n in SIZES]
        print(f"| {pair.name} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
