from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tutelage.evaluate import intervals
from tutelage.evaluate.intervals import (
    bootstrap_t,
    pseudo_values,
    standard_error,
    student_quantile,
    wilson,
)
from tutelage.score import METRICS
from tutelage.score._metric import mean


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 9, 30, 99, 200, 1001])
def test_student_quantile_is_scipys(freedom: int) -> None:
    expected = scipy.stats.t.ppf(0.975, freedom)
    assert student_quantile(freedom) == pytest.approx(expected, rel=1e-9)


def test_wilson_solves_its_equation() -> None:
    value, error, units = 0.3, 0.02, 80
    low, high = wilson(value, error, units)
    rows = value * (1 - value) / error**2
    t = scipy.stats.t.ppf(0.975, units - 1)
    for end in (low, high):
        assert (value - end) ** 2 == pytest.approx(t**2 * end * (1 - end) / rows)
    assert low < value < high


@pytest.mark.parametrize("right", [1, 10, 37, 50, 99])
def test_wilson_of_yes_or_no_rows_is_close_to_the_textbooks(right: int) -> None:
    rows = np.arange(100) < right
    low, high = wilson(right / 100, standard_error(rows.astype(float)), 100)
    expected = scipy.stats.binomtest(right, 100).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert low < expected.low and high > expected.high  # t for z, n - 1 for n: never narrower


@pytest.mark.parametrize("value", [0.0, 1.0, 0.4])
def test_rows_without_spread_are_taken_for_the_worst_case(value: float) -> None:
    low, high = wilson(value, 0.0, 50)
    assert 0 <= low <= value <= high <= 1 and 0.05 < high - low < 0.3
    assert wilson(value, 0.0, 500)[1] - wilson(value, 0.0, 500)[0] < high - low


def test_pseudo_values_of_a_mean_are_the_rows() -> None:
    scores = np.random.default_rng(0).random(20)
    units = np.column_stack([scores, np.ones(20)])
    assert pseudo_values(units, mean) == pytest.approx(scores)
    assert standard_error(scores) == pytest.approx(scipy.stats.sem(scores))


def test_jackknife_leaves_one_out() -> None:
    units = np.random.default_rng(1).random((6, 2))
    whole = units[:, 0].sum() / units[:, 1].sum()
    expected = []
    for left_out in range(6):
        rest = np.delete(units, left_out, axis=0)
        expected.append(6 * whole - 5 * rest[:, 0].sum() / rest[:, 1].sum())
    assert pseudo_values(units, mean) == pytest.approx(expected)


def test_bootstrap_t_is_the_naive_one() -> None:
    """The same resamples, each with its own loop over rows and the mean's textbook error."""
    scores = np.random.default_rng(2).gamma(1, 1, 30)
    units = np.column_stack([scores, np.ones(30)])
    roots = []
    for weights in np.concatenate(list(intervals.draws(30, seed=7))):
        drawn = np.repeat(scores, weights.astype(int))
        roots.append((drawn.mean() - scores.mean()) / (drawn.std(ddof=1) / np.sqrt(30)))
    low, high = np.quantile(roots, [0.025, 0.975])
    error = scores.std(ddof=1) / np.sqrt(30)
    expected = (scores.mean() - high * error, scores.mean() - low * error)
    assert bootstrap_t(units, mean, seed=7) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_gradients_are_those_of_smaller_steps(name: str) -> None:
    references = ["a b c d e f g", "one two three four five", "x y z u v w"]
    answers = ["a b c d x f g", "one two three four", "x y z u v w"]
    metric = METRICS.get(name)
    sums = metric.statistics(references, answers).sum(axis=0, keepdims=True)
    found = intervals._gradient(metric.aggregate, sums, sums)[0]
    for column in range(sums.shape[1]):
        step = np.zeros_like(sums)
        step[0, column] = 1e-7 * sums[0, column]
        rise = metric.aggregate(sums + step) - metric.aggregate(sums)
        expected = rise[0] / step[0, column] if step[0, column] else 0.0
        assert found[column] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_resampling_in_chunks_gives_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "CHUNK", 1000)
    weights = np.concatenate(list(intervals.draws(30, seed=0)))
    assert weights.shape == (intervals.RESAMPLES, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert len(np.unique(weights, axis=0)) == len(weights)
