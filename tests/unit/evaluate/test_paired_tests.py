"""Tests of differences: against scipy and enumeration, and how often they reject twins."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from operator import eq, gt

import numpy as np
import pytest
import scipy.stats

from tests.unit.evaluate.simulation import rows
from tutelage.errors import RequestError, UnknownName
from tutelage.evaluate.noise import noise_floor
from tutelage.evaluate.paired_tests import TESTS, mcnemar, p_value
from tutelage.evaluate.slices import compare_slices, slices
from tutelage.evaluate.statistics import benjamini_hochberg, compare
from tutelage.score import METRICS
from tutelage.score._metric import mean


@pytest.mark.parametrize("counts", [(0, 0), (3, 9), (9, 3), (12, 12), (0, 8), (30, 17)])
def test_mcnemar_is_scipys_binomial_test(counts: tuple[int, int]) -> None:
    first, second = counts
    a = rows(np.array([1.0] * first + [0.0] * second + [1.0] * 7 + [0.0] * 5))
    b = rows(np.array([0.0] * first + [1.0] * second + [1.0] * 7 + [0.0] * 5))
    expected = scipy.stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)
    # Swapping every pair's answers, all ways: the exact test counts ties whole, the mid-p half.
    if 0 < first + second <= 12:
        gaps = np.array([1] * first + [-1] * second)
        ways = [abs(np.dot(gaps, s)) for s in itertools.product((1, -1), repeat=len(gaps))]
        more, ties = (np.mean([f(way, abs(gaps.sum())) for way in ways]) for f in (gt, eq))
        assert mcnemar(a, b) == pytest.approx(more + ties)
        assert p_value(a, b, mean, 0) == pytest.approx(more + ties / 2)


@pytest.mark.parametrize(
    "counts", [(0, 0), (3, 9), (9, 3), (12, 12), (0, 8), (30, 17), (900, 1000)]
)
def test_right_or_wrong_rows_take_mcnemars_mid_p(counts: tuple[int, int]) -> None:
    """Fagerland et al. 2013, equation 8, at b = c by the half of the distribution on each side."""
    first, second = counts
    a = rows(np.array([1.0] * first + [0.0] * second + [1.0] * 7))
    b = rows(np.array([0.0] * first + [1.0] * second + [1.0] * 7))
    binomial = scipy.stats.binom(first + second, 0.5)
    least = min(counts)
    expected = 2 * binomial.cdf(least - 1) + binomial.pmf(least)
    assert p_value(a, b, mean, 0) == pytest.approx(expected)
    assert p_value(b, a, mean, 0) == p_value(a, b, mean, 0) <= mcnemar(a, b)
    assert compare(a, b, mean).p_value == p_value(a, b, mean, 0)


def size(rows_: int, differing: float, mid_p: bool) -> float:
    """How often alike systems are told apart, exactly: rows differ with this chance, and by which
    of the two was right then decides a fair coin."""
    share = 0.0
    for count in range(rows_ + 1):
        seen = scipy.stats.binom.pmf(count, rows_, differing)
        coins = scipy.stats.binom(count, 0.5)
        tails = 2 * coins.cdf(np.arange(count // 2 + 1))
        if mid_p:
            tails -= coins.pmf(np.arange(count // 2 + 1))
        below = int((np.minimum(tails, 1) < 0.05).sum())
        share += seen * 2 * coins.cdf(below - 1) if below else 0.0
    return float(share)


@pytest.mark.parametrize("differing", [0.1, 0.2, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("count", [50, 100, 200])
def test_the_size_of_the_mid_p_test_is_right_and_that_of_the_exact_one_small(
    count: int, differing: float
) -> None:
    """5% to within 1% wherever ten rows and more differ; fewer can hardly reach p < 0.05 at all.
    Never more than that, of whatever rows."""
    found = size(count, differing, mid_p=True)
    assert size(count, differing, mid_p=False) < min(0.045, found)
    assert (0.04 if count * differing >= 10 else 0.02) < found < 0.06


def test_the_bootstrap_test_agrees_with_the_others_on_many_rows() -> None:
    generator = np.random.default_rng(1)
    base = generator.normal(size=300)
    a, b = rows(base + generator.normal(0.1, 0.6, 300)), rows(base)
    found = {test: p_value(a, b, mean, 0, test) for test in ("randomization", "bootstrap")}
    expected = scipy.stats.ttest_rel(a[:, 0], b[:, 0]).pvalue
    assert found["randomization"] == pytest.approx(expected, abs=0.01)
    assert found["bootstrap"] == pytest.approx(expected, abs=0.015)


def test_what_does_not_fit_is_refused() -> None:
    graded = rows(np.array([0.5, 1.0, 0.0]))
    with pytest.raises(RequestError, match="right or wrong"):
        p_value(graded, graded, mean, 0, "mcnemar")
    with pytest.raises(UnknownName):
        p_value(graded, graded, mean, 0, "t-test")


def graded_twins(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, None]:
    base = generator.beta(2, 3, 60)
    noise = generator.normal(0, 0.1, (2, 60))
    return rows(base + noise[0]), rows(base + noise[1]), None


def binary_twins(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, None]:
    chance = generator.beta(1, 1, 400)
    a, b = (generator.random((2, 400)) < chance).astype(float)
    return rows(a), rows(b), None


def clustered_twins(
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Eight rows of each of 30 sources; one system happens to know a source, whole."""
    sources = np.repeat(np.arange(30), 8)
    known = generator.normal(0, 1, (2, 30))[:, sources]
    a, b = known + generator.normal(0, 1, (2, 240))
    return rows(a), rows(b), sources.tolist()


def binary_clusters(
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Right-or-wrong rows, three of each of 20 sources: sums that tie often."""
    chance = generator.beta(1, 1, 60)
    a, b = (generator.random((2, 60)) < chance).astype(float)
    return rows(a), rows(b), np.repeat(np.arange(20), 3).tolist()


Twins = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, list[int] | None]]


def rejections(twins: Twins, test: str, trials: int, clustered: bool = True) -> float:
    """Share of A/A comparisons with p < 0.05."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(trials):
        a, b, sources = twins(generator)
        clusters = sources if clustered else None
        units_a, units_b = (_joined(side, clusters) for side in (a, b))
        wrong += p_value(units_a, units_b, mean, 0, test) < 0.05
    return wrong / trials


def _joined(side: np.ndarray, clusters: list[int] | None) -> np.ndarray:
    if clusters is None:
        return side
    units = np.zeros((max(clusters) + 1, side.shape[1]))
    np.add.at(units, clusters, side)
    return units


@pytest.mark.parametrize(
    ("twins", "test", "clustered"),
    [
        (graded_twins, "randomization", True),
        (graded_twins, "bootstrap", True),
        (binary_twins, "randomization", True),
        (binary_twins, "mcnemar", True),
        (clustered_twins, "randomization", True),
        (binary_clusters, "randomization", True),
    ],
)
def test_alike_systems_are_told_apart_in_one_of_twenty(
    twins: Twins, test: str, clustered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5% to within 1%; McNemar's exact test may reject less. 4,000 trials: error 0.34%."""
    monkeypatch.setattr("tutelage.evaluate.randomization.RESAMPLES", 399)
    monkeypatch.setattr("tutelage.evaluate.intervals.RESAMPLES", 399)
    share = rejections(twins, test, 4000, clustered)
    assert (0.025 if test == "mcnemar" else 0.04) < share < 0.06


def test_rows_of_a_source_taken_one_by_one_reject_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why sources are taken whole."""
    monkeypatch.setattr("tutelage.evaluate.randomization.RESAMPLES", 199)
    assert rejections(clustered_twins, "randomization", 300, clustered=False) > 0.2


@pytest.mark.parametrize("seed", range(5))
def test_benjamini_hochberg_is_scipys(seed: int) -> None:
    values = np.random.default_rng(seed).random(12) ** 2
    expected = scipy.stats.false_discovery_control(values)
    assert benjamini_hochberg(values.tolist()) == pytest.approx(expected)
    assert benjamini_hochberg([]) == []


def test_the_noise_floor_holds_95_of_100_pairs_of_seeds() -> None:
    generator = np.random.default_rng(2)
    held = []
    for _ in range(2000):
        seeds = generator.normal(0.7, 0.02, 5)
        one, other = generator.normal(0.7, 0.02, 2)
        held.append(abs(one - other) <= noise_floor(seeds.tolist()).size)
    assert 0.93 < np.mean(held) < 0.97
    with pytest.raises(RequestError):
        noise_floor([0.5])


def items(count: int) -> list[dict[str, object]]:
    return [
        {
            "reference": "yes" if n % 2 else "no",
            "source": f"book {n % 3}",
            "prompt": "long question" if n % 4 else "short",
        }
        for n in range(count)
    ]


def test_slices_say_where_systems_differ() -> None:
    generator = np.random.default_rng(0)
    count = 120
    b = generator.random(count) < 0.5
    a = b.copy()
    a[1::2] = True  # better where the answer is yes, equal elsewhere
    found = compare_slices(items(count), rows(a.astype(float)), rows(b.astype(float)), mean)
    by = {(where.by, where.value): one.verdict for where, one in found}
    assert by["reference", "yes"] == "better" and by["reference", "no"] == "cannot tell"
    assert {where.by for where, _ in found} == {"reference", "source", "question"}
    assert slices(items(15)) == [] or all(len(one.places) >= 10 for one in slices(items(15)))


def test_unbounded_quantities_are_compared_too() -> None:
    generator = np.random.default_rng(3)
    matthews, ter = METRICS.get("matthews"), METRICS.get("ter")
    true = generator.choice(["a", "b"], 60).tolist()
    wrong = ["b" if t == "a" else "a" for t in true]
    found = compare(
        matthews.statistics(true, true), matthews.statistics(true, wrong), matthews.aggregate,
        limits=matthews.limits,
    )  # fmt: skip
    assert found.difference == 2 and found.verdict == "better" and found.high <= 2
    edits = np.column_stack([generator.poisson(3, 40), np.full(40, 2.0)]).astype(float)
    fewer = edits * [0.5, 1.0]
    worse = compare(edits, fewer, ter.aggregate, limits=ter.limits)
    assert worse.low > 0 and worse.test == TESTS["randomization"]
