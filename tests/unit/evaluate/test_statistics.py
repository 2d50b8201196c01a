from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from tests.unit.evaluate.simulation import rows
from tutelage.errors import RequestError
from tutelage.evaluate.statistics import compare, holm, measured, n_needed
from tutelage.score import METRICS
from tutelage.score._metric import mean
from tutelage.store import to_json


def test_a_measured_mean() -> None:
    scores = np.random.default_rng(0).random(80)
    found = measured(rows(scores), mean)
    assert found["value"] == pytest.approx(scores.mean()) and found["n"] == 80
    assert found["low"] < found["value"] < found["high"]
    t = scipy.stats.t.interval(0.95, 79, scores.mean(), scipy.stats.sem(scores))
    assert (found["low"], found["high"]) == pytest.approx(t, abs=0.003)


def test_no_rows_have_no_value_and_one_row_says_nothing() -> None:
    assert measured(np.zeros((0, 2)), mean) == {
        "value": None, "low": None, "high": None, "n": 0, "reason": "no rows"
    }  # fmt: skip
    assert measured(rows(np.array([0.7])), mean) == {
        "value": 0.7, "low": 0.0, "high": 1.0, "n": 1
    }  # fmt: skip
    alone = measured(rows(np.array([0.7])), mean, limits=None)
    assert alone["value"] == 0.7 and alone["low"] is None and "spread" in alone["reason"]


@pytest.mark.parametrize("count", [2, 3, 5, 9, 10, 40])
@pytest.mark.parametrize("name", [n for n in METRICS.names() if not METRICS.get(n).needs])
def test_every_metric_has_an_interval_around_its_value(name: str, count: int) -> None:
    metric = METRICS.get(name)
    references = [f"{index % 3} one two three four {index % 3}" for index in range(count)]
    for answers in (
        references,
        [""] * count,
        [f"one two three five {index % 2}" for index in range(count)],
        ["one two three four 0"] + [""] * (count - 1),
    ):
        statistics = metric.statistics(references, answers)
        found = measured(statistics, metric.aggregate, limits=metric.limits)
        low, high = metric.limits or (-math.inf, math.inf)
        assert low <= found["low"] <= found["value"] <= found["high"] <= high + 1e-12
        # A correlation of rows that all say one thing has no spread to see.
        assert found["high"] - found["low"] > 0.001 or metric.limits != (0.0, 1.0)
        to_json(found)


def test_a_corpus_where_one_row_has_all_matches_takes_the_widest_interval() -> None:
    metric = METRICS.get("bleu")
    found = measured(metric.statistics(["a b c d"] * 20, ["a b c d"] + [""] * 19), metric.aggregate)
    assert found["value"] < 0.001 and 0.1 < found["high"] < 0.25


def test_the_same_seed_gives_the_same_bootstrap_and_another_seed_another() -> None:
    metric = METRICS.get("chrf")
    references = [f"some text {index}" for index in range(30)]
    answers = [text[: 5 + index % 7] for index, text in enumerate(references)]
    statistics = metric.statistics(references, answers)
    first = measured(statistics, metric.aggregate, seed=1)
    assert measured(statistics, metric.aggregate, seed=1) == first
    assert measured(statistics, metric.aggregate, seed=2) != first


def test_rows_of_one_source_widen_the_interval() -> None:
    """Every row ten times over says no more than once."""
    scores = np.random.default_rng(3).random(30)
    once = measured(rows(scores), mean)
    clusters = [f"s{index}" for index in np.repeat(np.arange(30), 10)]
    tenfold = measured(rows(np.repeat(scores, 10)), mean, clusters=clusters)
    assert (tenfold["low"], tenfold["high"]) == pytest.approx((once["low"], once["high"]))
    assert tenfold["n"] == 300
    naive = measured(rows(np.repeat(scores, 10)), mean)
    assert naive["high"] - naive["low"] < 0.4 * (once["high"] - once["low"])


def test_sources_are_swapped_whole() -> None:
    generator = np.random.default_rng(4)
    a = generator.random(20) * 0.5 + 0.2
    b = a + generator.normal(0.05, 0.1, 20)
    once = compare(rows(a), rows(b), mean)
    clusters = np.repeat(np.arange(20), 5).tolist()
    many = compare(rows(np.repeat(a, 5)), rows(np.repeat(b, 5)), mean, clusters=clusters)
    assert many.p_value == once.p_value and many.n == 100
    assert (many.low, many.high) == pytest.approx((once.low, once.high))


def test_comparison_is_antisymmetric() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.random(50), generator.random(50) * 0.6
    there, back = compare(rows(a), rows(b), mean), compare(rows(b), rows(a), mean)
    assert there.difference == pytest.approx(a.mean() - b.mean()) == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p_value == back.p_value and there.n_needed == back.n_needed
    assert (there.verdict, back.verdict) == ("better", "worse")
    to_json(there.as_json())


@pytest.mark.parametrize("scores", [[0.0] * 40, [1.0] * 40, [0.0, 1.0] * 20, [0.3, 0.4] * 20])
def test_equal_answers_cannot_be_told_apart(scores: list[float]) -> None:
    same = rows(np.array(scores))
    found = compare(same, same, mean)
    assert found.difference == 0 and found.p_value == 1 and found.n_needed is None
    assert found.low < 0 < found.high and found.verdict == "cannot tell"


def test_newcombes_published_interval() -> None:
    """Newcombe 1998 (paired), table III: cells 36, 12, 2, 0 give 0.2 with 0.0569 to 0.3404 by
    method 10; ours takes t and n - 1 for z and n, and no correction of the correlation."""
    a = np.repeat([1.0, 1.0, 0.0, 0.0], [36, 12, 2, 0])
    b = np.repeat([1.0, 0.0, 1.0, 0.0], [36, 12, 2, 0])
    found = compare(rows(a), rows(b), mean)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=0.012)


def test_rows_needed_reach_the_power_they_promise() -> None:
    """The power of a paired z test at that many rows, from the normal distribution."""
    needed = n_needed(0.03, 0.2)
    assert needed is not None
    power = scipy.stats.norm.sf(1.959964 - 0.03 / 0.2 * math.sqrt(needed))
    assert power == pytest.approx(0.8, abs=0.002)
    generator = np.random.default_rng(6)
    b = generator.random(200)
    gaps = generator.normal(0.03, 0.2, 200)
    found = compare(rows(b + gaps), rows(b), mean)
    assert found.n_needed == n_needed(found.difference, float(gaps.std(ddof=1)))


def test_holm_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_is_the_closed_test_of_bonferroni() -> None:
    """p adjusted = largest Bonferroni p over all sets of hypotheses that hold this one."""
    p_values = [0.002, 0.5, 0.013, 0.04, 0.013]
    expected = []
    for index in range(5):
        sets = [s for s in range(1, 32) if s >> index & 1]
        tests = [
            min(1.0, s.bit_count() * min(p for i, p in enumerate(p_values) if s >> i & 1))
            for s in sets
        ]
        expected.append(max(tests))
    assert holm(p_values) == pytest.approx(expected)


def test_wrong_shapes_are_refused() -> None:
    good = rows(np.array([0.1, 0.2, 0.3]))
    with pytest.raises(RequestError, match="same rows"):
        compare(good, good[:2], mean)
    with pytest.raises(RequestError, match="same rows"):
        compare(good[:0], good[:0], mean)
    with pytest.raises(RequestError, match="finite"):
        measured(np.array([[np.nan, 1.0]]), mean)
    with pytest.raises(RequestError, match="one cluster a row"):
        measured(good, mean, clusters=["a", "b"])
