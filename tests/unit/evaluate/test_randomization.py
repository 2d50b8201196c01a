from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from tutelage.evaluate import randomization
from tutelage.evaluate.randomization import p_value
from tutelage.score import METRICS
from tutelage.score._metric import mean


def rows(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def test_few_rows_are_enumerated_like_scipy_does() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(9), generator.random(9)
    whole = scipy.stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    # The data and their mirror image tie with themselves: two of 512, each counted half here.
    assert p_value(rows(a), rows(b), mean, 0) == pytest.approx(whole - 1 / 512)


def test_corpus_metrics_are_enumerated_like_loops_do() -> None:
    metric = METRICS.get("bleu")
    references = ["a b c d e", "f g h i j k", "l m n o p", "q r s t u", "v w x y z a"]
    one = ["a b c d e", "f g h i x k", "l m n o", "q r s t u", "v w x y z a"]
    other = ["a b c x e", "f g h i j k", "l m n o p", "q r x t u", "v w x"]
    a, b = metric.statistics(references, one), metric.statistics(references, other)
    observed = abs(metric.aggregate(a.sum(axis=0)) - metric.aggregate(b.sum(axis=0)))
    extreme = 0.0
    for swaps in itertools.product([False, True], repeat=5):
        left, right = a.copy(), b.copy()
        for place, swap in enumerate(swaps):
            if swap:
                left[place], right[place] = b[place], a[place]
        gap = metric.aggregate(left.sum(axis=0)) - metric.aggregate(right.sum(axis=0))
        tied = abs(abs(gap) - observed) < 1e-12
        extreme += 0.5 if tied else abs(gap) > observed
    assert p_value(a, b, metric.aggregate, 0) == pytest.approx(extreme / 32)


def test_many_rows_are_sampled_close_to_what_is_counted() -> None:
    """0/1 rows: only rows with one right answer count, which is the binomial test (McNemar)."""
    a = np.r_[np.ones(30), np.ones(14), np.zeros(5), np.zeros(20)]
    b = np.r_[np.ones(30), np.zeros(14), np.ones(5), np.zeros(20)]
    counted = scipy.stats.binomtest(14, 19).pvalue - scipy.stats.binom.pmf(5, 19, 0.5)
    assert p_value(rows(a), rows(b), mean, 0) == pytest.approx(counted, abs=0.006)


def test_clusters_of_right_answers_are_enumerated_like_loops_do() -> None:
    """Sums of right answers tie often: each tie counts half."""
    generator = np.random.default_rng(5)
    sizes = np.array([3, 1, 4, 2, 5, 2, 3, 1])
    a, b = (np.column_stack([generator.binomial(sizes, 0.6), sizes]).astype(float) for _ in "ab")
    gaps = (a - b)[:, 0]
    observed = abs(gaps.sum())
    ways = [abs(np.dot(gaps, signs)) for signs in itertools.product((1, -1), repeat=len(gaps))]
    counted = [0.5 if way == observed else float(way > observed) for way in ways]
    assert observed > 0 and counted.count(0.5) > 2
    assert p_value(a, b, mean, 0) == pytest.approx(np.mean(counted))


def test_never_zero_symmetric_and_the_same_for_the_same_seed() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random(60) + 5, generator.random(60)
    found = p_value(rows(a), rows(b), mean, 0)
    assert found == 0.5 / (randomization.RESAMPLES + 1)
    a = b + generator.normal(0.02, 0.1, 60)
    found = p_value(rows(a), rows(b), mean, 3)
    assert p_value(rows(b), rows(a), mean, 3) == found == p_value(rows(a), rows(b), mean, 3)
    assert p_value(rows(a), rows(a), mean, 0) == 1


def test_chunks_hold_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomization, "CHUNK", 10_000)
    swaps = np.concatenate(list(randomization._swaps(40, 0)))
    assert swaps.shape == (randomization.RESAMPLES, 40)
    assert set(np.unique(swaps)) == {0.0, 1.0}
    assert swaps.mean() == pytest.approx(0.5, abs=0.01)
    assert len(np.unique(swaps, axis=0)) == len(swaps)
