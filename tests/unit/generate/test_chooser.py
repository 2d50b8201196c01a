"""The order of the settings, what they remember, and log-probabilities."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import scipy.stats
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.witness import pair
from tutelage.decoding import Penalties
from tutelage.generate.chooser import Chooser, logprobs
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.sample import distribution
from tutelage.lm import Sampling
from tutelage.models.transformer import Transformer

pytestmark = pytest.mark.usefixtures("decoding")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return pair(7, initializer_range=0.1)[1]


def by_hand(
    logits: list[float], read: list[int], made: list[int], sampling: Sampling
) -> list[float]:
    """Scores before the temperature, by loops: bias, n-grams, repetition, frequency, presence."""
    scores, penalties = list(logits), sampling.penalties
    for token, added in sampling.logit_bias:
        scores[token] += added
    counts, whole, n = Counter(made), read + made, penalties.no_repeat_ngram
    for token in range(len(scores)):
        if n and any(
            whole[i : i + n] == [*whole[len(whole) - n + 1 :], token]
            for i in range(len(whole) - n + 1)
        ):
            scores[token] = -math.inf
        if token in whole:
            up = penalties.repetition
            scores[token] = scores[token] / up if scores[token] > 0 else scores[token] * up
        scores[token] -= penalties.frequency * counts[token]
        scores[token] -= penalties.presence * (counts[token] > 0)
    return scores


def test_all_settings_at_once_in_their_order() -> None:
    penalties = Penalties(1.4, 0.6, 0.3, no_repeat_ngram=2)
    sampling = Sampling(penalties=penalties, logit_bias=((2, 1.5), (3, -1.0)))
    read = [1, 2, 3, 2]
    generator = torch.Generator().manual_seed(3)
    chooser, made = Chooser(sampling, read, frozenset()), list[int]()
    for _ in range(25):
        logits = torch.randn(7, generator=generator)
        scores = by_hand(logits.tolist(), read, made, sampling)
        made.append(chooser.choose(logits).token)
        assert made[-1] == max(range(7), key=lambda i: scores[i])
        if set(Counter(zip(read + made, (read + made)[1:], strict=False)).values()) != {1}:
            break  # all seven were forbidden: then none is
    assert len(made) > 12 and len(set(made)) > 3


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.3, min_p=0.1),
        Sampling(0.8, typical_p=0.7),
        Sampling(1.0, top_k=6, top_p=0.9, min_p=0.05, typical_p=0.9),
        Sampling(1.0, penalties=Penalties(repetition=2.0), logit_bias=((1, 2.0),)),
    ],
)
def test_frequencies_follow_the_distribution(sampling: Sampling) -> None:
    """Chi-square over 3,000 draws by as many requests, each with its own seed."""
    logits = torch.tensor([0.1, 1.5, -1.0, 0.7, 0.7, 2.0, -2.0, 0.0])
    bare = Sampling(**{**vars(sampling), "penalties": Penalties(), "logit_bias": ()})
    expected = distribution(torch.tensor(by_hand(logits.tolist(), [5], [], sampling)), bare)
    counts = torch.zeros(8)
    for seed in range(3000):
        one = Sampling(**{**vars(sampling), "seed": seed})
        counts[Chooser(one, [5], frozenset()).choose(logits).token] += 1
    possible = expected > 0
    assert counts[~possible].sum() == 0 and possible.sum() > 1
    wanted = (expected[possible].double() * 3000).numpy()
    found = counts[possible].double().numpy()
    assert scipy.stats.chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-3


def test_logprobs_are_the_models_own() -> None:
    """Temperature, bias and penalties change what is chosen, not what is told."""
    logits = torch.tensor([0.5, 2.0, 1.0, -1.0])
    known = torch.log_softmax(logits, -1).tolist()
    sampling = Sampling(1.7, logit_bias=((3, 100.0),), penalties=Penalties(repetition=3.0))
    choice = Chooser(sampling, [1], frozenset(), logprobs=2).choose(logits)
    assert choice.token == 3 and choice.logprobs is not None
    assert choice.logprobs.chosen == pytest.approx(known[3])
    assert [token for token, _ in choice.logprobs.top] == [1, 2]
    assert logprobs(logits, 0, 0).top == ()
    assert len(logprobs(logits, 0, 20).top) == 4


def settings_of(count: int) -> list[Sampling]:
    kinds = [
        Sampling(),
        Sampling(penalties=Penalties(repetition=1.5)),
        Sampling(0.9, top_p=0.9, seed=3),
        Sampling(1.0, min_p=0.02, seed=4, penalties=Penalties(no_repeat_ngram=2)),
        Sampling(penalties=Penalties(frequency=0.5, presence=0.5)),
    ]
    return [kinds[i % len(kinds)] for i in range(count)]


@pytest.mark.parametrize("slots", [2, 64])
def test_company_changes_no_answer(model: Transformer, slots: int) -> None:
    """Requests with every kind of setting in one batch answer as they do alone."""
    prompts = prompts_of([3, 9, 1, 14, 6, 5, 7], 6)
    jobs = [
        Job(prompt, 14, frozenset({5}), sampling, min_new_tokens=i, logprobs=i % 3 or None)
        for i, (prompt, sampling) in enumerate(zip(prompts, settings_of(7), strict=True))
    ]
    alone = [answers(Engine(model), [job])[0] for job in jobs]
    assert answers(Engine(model, slots=slots), jobs) == alone
    assert all(len(tokens) >= i for i, (tokens, _) in enumerate(alone))


def test_told_logprobs_equal_full_passes() -> None:
    theirs, ours = pair(8, initializer_range=0.2)
    (prompt,) = prompts_of([9])
    made, told = [], []
    for event in Engine(ours).run([Job(prompt, 8, frozenset(), Sampling(1.0), logprobs=3)]):
        assert event.token is not None and event.logprobs is not None
        made.append(event.token)
        told.append(event.logprobs)
    with torch.inference_mode():
        logits = theirs(torch.tensor([[*prompt, *made]])).logits[0, len(prompt) - 1 : -1]
    known = torch.log_softmax(logits, -1)
    for place, (token, found) in enumerate(zip(made, told, strict=True)):
        assert found.chosen == pytest.approx(float(known[place, token]), abs=1e-4)
        wanted = torch.topk(known[place], 3)
        assert [id for id, _ in found.top] == wanted.indices.tolist()
        assert [value for _, value in found.top] == pytest.approx(wanted.values.tolist(), abs=1e-4)


def test_a_greedy_request_has_no_chooser(model: Transformer) -> None:
    """What asks for nothing costs nothing."""
    assert Job((1,), 5, frozenset()).chooser(model) is None
    assert Job((1,), 5, frozenset(), Sampling(top_k=3, seed=9)).chooser(model) is None
    for asking in (
        Job((1,), 5, frozenset(), min_new_tokens=1),
        Job((1,), 5, frozenset(), logprobs=0),
        Job((1,), 5, frozenset(), Sampling(logit_bias=((1, 1.0),))),
    ):
        assert asking.chooser(model) is not None
