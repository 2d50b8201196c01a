"""The intervals hold the truth, and p-values are uniform where nothing differs.

1,000 trials have a standard error of 0.7 points at 95%, so 93% to 97% is three of them.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tests.unit.evaluate import simulation
from tests.unit.evaluate.simulation import (
    BERNOULLI,
    MEANS,
    SIZES,
    UNBOUNDED,
    coverage,
    p_values,
    paired,
)
from tutelage.evaluate import randomization
from tutelage.evaluate.statistics import measured
from tutelage.score._metric import mean

LOW, HIGH = 0.93, 0.97
NULL = simulation.Paired("equally good", simulation.graded_pair, 0.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """p-values in steps of a thousandth, which is as fine as 1,000 trials can tell."""
    monkeypatch.setattr(randomization, "RESAMPLES", 999)


def exact_coverage(p: np.ndarray, n: int) -> np.ndarray:
    """Of 0/1 rows: the probability of the outcomes whose interval holds p, no sampling at all."""
    right = np.arange(n + 1)
    found = [measured(simulation.rows((np.arange(n) < k) * 1.0), mean) for k in right]
    low, high = (np.array([one[end] for one in found]) for end in ("low", "high"))
    held = (low <= p[:, None]) & (p[:, None] <= high)
    return (held * scipy.stats.binom.pmf(right, n, p[:, None])).sum(axis=1)


@pytest.mark.parametrize("n", SIZES)
def test_yes_or_no_rows(n: int) -> None:
    """Right answers come in whole numbers, so coverage jumps with p and no interval without dice
    covers 95% at each: the mean over p is held to 93-97%, single values of p to 91.5-98%."""
    assert LOW < exact_coverage(np.linspace(0.02, 0.98, 481), n).mean() < HIGH
    single = exact_coverage(np.array(BERNOULLI), n)
    assert single.min() > 0.915 and single.max() < 0.98


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("case", MEANS, ids=lambda case: case.name)
def test_means(case: simulation.Single, n: int) -> None:
    assert LOW <= coverage(case, n) <= HIGH


@pytest.mark.parametrize("case", UNBOUNDED, ids=lambda case: case.name)
def test_rise_of_loss(case: simulation.Single) -> None:
    assert LOW <= coverage(case, 100, trials=500) <= HIGH


def test_graded_differences() -> None:
    assert LOW <= paired(NULL, 60) <= HIGH


def test_p_values_are_uniform_where_nothing_differs(quick: None) -> None:
    found = p_values(NULL, 60)
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.02)


def test_p_values_of_yes_or_no_rows_are_never_too_small(quick: None) -> None:
    """They come in steps, so they cannot be uniform: at each level they must be no likelier."""
    found = p_values(simulation.cells(0.5, 0.1, 0.1), 60)
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        assert np.mean(found <= level) < level + 3 * np.sqrt(level / 1000)


def test_a_percentile_bootstrap_would_fail_here() -> None:
    """What the intervals are better than: the simulation can tell a bad interval from a good."""
    case = simulation.sparse(0.1, 1.0)
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        scores = case.draw(generator, 50)[:, 0]
        resampled = generator.choice(scores, (500, 50)).mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        held += low <= case.truth <= high
    assert held / 300 < LOW
    assert LOW <= coverage(case, 50) <= HIGH


@pytest.mark.long
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("place", range(4))
def test_corpus_metrics(place: int, n: int) -> None:
    assert 0.925 <= coverage(simulation.corpora()[place], n) <= 0.975


@pytest.mark.long
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("place", range(9))
def test_differences(place: int, n: int) -> None:
    assert 0.92 <= paired(simulation.pairs()[place], n) <= 0.98


@pytest.mark.long
@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_p_values_of_corpus_metrics_are_uniform(metric: str) -> None:
    found = p_values(simulation.exchangeable(metric), 100)
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_a_corpus_metric(quick: None) -> None:
    """The short form of the long tests: 200 trials, so 95% is known to 1.5 points."""
    assert 0.91 <= coverage(simulation.corpus("bleu", (3, 1.5)), 100, trials=200) <= 0.99
    found = p_values(simulation.exchangeable("bleu"), 30, trials=200)
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01
