from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from tests.unit.evaluate.fakes import WordLM
from tutelage.errors import RequestError, WorkError
from tutelage.evaluate.forgetting import (
    Pair,
    draw_samples,
    pairs_of,
    rise,
    split_text,
    text_scores,
)
from tutelage.evaluate.statistics import Measured
from tutelage.lm import Sampling

START = " ".join(f"c{index}" for index in range(20))


def risen(before: WordLM, after: WordLM, pairs: list[Pair]) -> tuple[Measured, np.ndarray]:
    return rise(text_scores(before, pairs), text_scores(after, pairs))


def test_a_text_is_split_after_twenty_words_and_nothing_is_lost() -> None:
    text = f"\n{START}\n\n  and then the rest "
    context, continuation = split_text(text) or ("", "")
    assert context == f"\n{START}" and continuation == "\n\n  and then the rest "
    assert split_text(START) is None and split_text(START + " \n") is None
    assert split_text("") is None and split_text("a b c", words=2) == ("a b", " c")


def test_rise_is_the_ratio_of_sums_not_the_mean_of_ratios() -> None:
    before = WordLM(probabilities={"a": 0.5, "b": 0.5})
    after = WordLM(probabilities={"a": 0.25, "b": 0.5})
    texts = [f"{START} a", f"{START} b b b", "too short"]
    found, statistics = risen(before, after, pairs_of(texts))
    assert found["value"] == pytest.approx(math.log(2) / 4)
    assert statistics == pytest.approx(np.array([[math.log(2), 1], [0, 3]]))
    assert found["n"] == 2


def test_nothing_changed_is_nothing_forgotten() -> None:
    lm = WordLM()
    texts = [f"{START} some words {'more ' * k}" for k in range(12)]
    found, _ = risen(lm, lm, pairs_of(texts))
    assert found["value"] == 0 == found["low"] == found["high"]


def test_stored_scores_serve_as_well_as_the_model() -> None:
    pairs = [(START, f" a {'b ' * k}") for k in range(15)]
    before, after = WordLM(), WordLM(probabilities={"a": 0.1})
    scores = text_scores(before, pairs)
    assert scores[:, 1].tolist() == [1 + k for k in range(15)]
    again = np.array(scores.tolist())
    direct = risen(before, after, pairs_of([f"{context}{rest}" for context, rest in pairs]))
    stored = rise(again, text_scores(after, pairs))
    assert stored[0] == direct[0] and np.array_equal(stored[1], direct[1])
    assert stored[0]["low"] < stored[0]["value"] < stored[0]["high"]


def test_other_tokens_cannot_be_compared() -> None:
    with pytest.raises(RequestError, match="same tokens"):
        rise(np.array([[-1.0, 3.0]]), np.array([[-1.0, 4.0]]))
    with pytest.raises(RequestError, match="long enough"):
        pairs_of(["short", ""])


def test_an_impossible_text_is_named() -> None:
    class Certain(WordLM):
        def score(self, pairs):  # type: ignore[no-untyped-def]
            return [type(s)(-math.inf, s.tokens, False) for s in super().score(pairs)]

    with pytest.raises(WorkError, match="text 0 is not a finite number"):
        text_scores(Certain(), [("a", " b")])


def test_samples_are_drawn_at_temperature_one_each_with_its_own_seed() -> None:
    lm = WordLM(lambda prompt: "" if prompt == "blank" else f" {prompt} on")
    samples = draw_samples(lm, ["go", "blank", "come"], max_new_tokens=5, seed=10)
    assert samples == [("go", " go on"), ("come", " come on")]
    assert [r.sampling for r in lm.asked] == [Sampling(1.0, seed=s) for s in (10, 11, 12)]


def test_divergence_estimates_kullback_leibler() -> None:
    """Words drawn independently: the divergence has a closed form."""
    p, q = {"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.4, "b": 0.4, "c": 0.2}
    expected = scipy.stats.entropy(list(p.values()), list(q.values()))
    generator = np.random.default_rng(0)
    samples: list[Pair] = [
        ("go", " " + " ".join(generator.choice(list(p), size, p=list(p.values()))))
        for size in generator.integers(5, 30, 300)
    ]
    found, _ = risen(WordLM(probabilities=p), WordLM(probabilities=q), samples)
    assert found["low"] < expected < found["high"]
    assert found["value"] == pytest.approx(expected, abs=0.02)
