"""Choosing a token: against brute force, and by the frequencies of many draws."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.generate.sample import choose, distribution, draw, keep_top_k, keep_top_p
from tutelage.lm import Sampling

SCORES = st.lists(
    st.one_of(st.floats(-8, 8, width=32, allow_subnormal=False), st.sampled_from([0.0, 1.0, 2.0])),
    min_size=1,
    max_size=12,
)


def softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]


def brute_force(logits: list[float], sampling: Sampling) -> list[float]:
    """The same distribution by sorting lists, in float64."""
    scores = [logit / sampling.temperature for logit in logits]
    if sampling.top_k is not None and sampling.top_k < len(scores):
        smallest = sorted(scores, reverse=True)[sampling.top_k - 1]
        scores = [score if score >= smallest else -math.inf for score in scores]
    if sampling.top_p is not None:
        probabilities = softmax(scores)
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        kept, total = set(), 0.0
        for i in order:
            kept.add(i)
            total += probabilities[i]
            if total >= sampling.top_p:
                break
        scores = [score if i in kept else -math.inf for i, score in enumerate(scores)]
    return softmax(scores)


@given(
    SCORES,
    st.floats(0.3, 2.0),
    st.one_of(st.none(), st.integers(1, 15)),
    st.one_of(st.none(), st.floats(0.01, 0.99)),
)
@settings(max_examples=300, deadline=None)
def test_distribution_equals_brute_force(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = brute_force(logits, sampling)
    got = distribution(torch.tensor(logits), sampling).tolist()
    if top_p is not None and at_the_edge(logits, sampling):
        return  # the sum reaches top_p within rounding: either cut is right
    assert got == pytest.approx(expected, abs=1e-5)


def at_the_edge(logits: list[float], sampling: Sampling) -> bool:
    without = Sampling(sampling.temperature, sampling.top_k)
    ordered = sorted(brute_force(logits, without), reverse=True)
    assert sampling.top_p is not None
    sums = [sum(ordered[: i + 1]) for i in range(len(ordered))]
    return any(abs(total - sampling.top_p) < 1e-5 for total in sums)


def test_ties_at_the_kth_score_stay() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0])
    kept = torch.isfinite(keep_top_k(logits, 2))
    assert kept.tolist() == [False, True, True, True, False]
    assert torch.equal(keep_top_k(logits, 5), logits)
    assert torch.equal(keep_top_k(logits, 50), logits)


def test_of_equal_probabilities_the_first_are_kept() -> None:
    kept = torch.isfinite(keep_top_p(torch.zeros(4), 0.5))
    assert kept.tolist() == [True, True, False, False]


@pytest.mark.parametrize("top_p", [1e-300, 1e-9, 1e-3])
def test_a_tiny_top_p_keeps_the_likeliest_token(top_p: float) -> None:
    logits = torch.tensor([0.5, 2.0, 1.0])
    got = distribution(logits, Sampling(temperature=1.0, top_p=top_p))
    assert got.tolist() == [0.0, 1.0, 0.0]


def test_the_whole_mass_keeps_every_token() -> None:
    logits = torch.tensor([0.5, 2.0, 1.0, -3.0])
    got = distribution(logits, Sampling(temperature=1.0, top_p=1.0))
    assert torch.allclose(got, torch.softmax(logits, -1))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.7, top_k=4),
        Sampling(temperature=1.5, top_p=0.8),
        Sampling(temperature=2.0, top_k=6, top_p=0.9),
    ],
)
def test_frequencies_follow_the_distribution(sampling: Sampling) -> None:
    """Chi-square over 4,000 draws; the seed is fixed, so the test cannot flicker."""
    logits = torch.tensor([0.1, 1.5, -1.0, 0.7, 0.7, 2.0, -2.0, 0.0])
    expected = distribution(logits, sampling)
    generator = torch.Generator().manual_seed(17)
    draws = 4000
    counts = torch.zeros(8)
    for _ in range(draws):
        counts[choose(logits, sampling, generator)] += 1
    possible = expected > 0
    assert counts[~possible].sum() == 0
    wanted = (expected[possible].double() * draws).numpy()
    found = counts[possible].double().numpy()
    assert scipy.stats.chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-3


def test_greedy_takes_the_first_of_equals() -> None:
    logits = torch.tensor([1.0, 3.0, 3.0])
    assert choose(logits, Sampling(), None) == 1
    assert distribution(logits, Sampling(top_k=1, top_p=0.1)).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("temperature", [5e-324, 2.2e-181, 1e-38, 1e-21, 1e-19])
def test_the_coldest_draws_take_the_likeliest(temperature: float) -> None:
    """Equals share; what a form forbids stays forbidden."""
    logits = torch.tensor([1.0, -3.0, 4.0, 4.0, -torch.inf])
    sampling = Sampling(temperature, top_k=3, top_p=0.9, min_p=0.1, typical_p=0.9)
    assert distribution(logits, Sampling(temperature)).tolist() == [0, 0, 0.5, 0.5, 0]
    assert choose(logits, sampling, torch.Generator().manual_seed(1)) in (2, 3)


def test_a_draw_takes_one_number_of_its_generator() -> None:
    """So a seed's later draws do not depend on how many tokens there are to choose from; and never
    a token that has no probability, at either end of the row."""
    probabilities = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    generator, other = (torch.Generator().manual_seed(3) for _ in range(2))
    drawn = [draw(probabilities, generator) for _ in range(200)]
    numbers = [float(torch.rand((), dtype=torch.float64, generator=other)) for _ in range(200)]
    assert drawn == [1 if 1 - u <= 0.25 else 3 for u in numbers]
