"""What is done to scores before a token is chosen equals transformers' logits processors."""

from __future__ import annotations

import random

import pytest
import torch
from transformers.generation import logits_process as theirs

from tutelage.generate.chooser import Chooser
from tutelage.generate.penalties import NGrams, bias, forbid, repeat
from tutelage.generate.sample import keep_min_p, keep_top_k, keep_top_p, keep_typical
from tutelage.lm import Sampling

VOCABULARY = 61
SEEDS = range(8)


def scores_of(seed: int, size: int = VOCABULARY) -> torch.Tensor:
    """In float64: which token is the last to reach a mass must not hang on the order of a sum."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(size, generator=generator, dtype=torch.float64)


def history_of(seed: int, length: int = 40) -> list[int]:
    drawn = random.Random(seed)
    return [drawn.randrange(6) for _ in range(length)]


def by_theirs(processor: object, history: list[int], scores: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = processor(torch.tensor([history]), scores[None].clone())[0]  # type: ignore[operator]
    return made


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [VOCABULARY, 5000, 49_153])
def test_filters(seed: int, size: int) -> None:
    scores = scores_of(seed, size)
    for k in (1, 5, min(600, size), size):
        wanted = by_theirs(theirs.TopKLogitsWarper(k), [], scores)
        assert torch.equal(keep_top_k(scores, k), wanted)
    for p in (0.01, 0.3, 0.9, 0.999):
        wanted = by_theirs(theirs.TopPLogitsWarper(p), [], scores)
        assert torch.equal(keep_top_p(scores, p), wanted)
        wanted = by_theirs(theirs.MinPLogitsWarper(p), [], scores)
        assert torch.equal(keep_min_p(scores, p), wanted)
        wanted = by_theirs(theirs.TypicalLogitsWarper(p), [], scores)
        assert torch.equal(keep_typical(scores, p), wanted)


def test_a_flat_distribution_needs_more_than_the_first_tokens() -> None:
    """Where the tokens put in order first do not hold the mass, all are."""
    scores = scores_of(0, 20_000) / 100
    kept = keep_top_p(scores, 0.9).isfinite()
    assert torch.equal(kept, by_theirs(theirs.TopPLogitsWarper(0.9), [], scores).isfinite())
    assert kept.sum() > 15_000


@pytest.mark.parametrize("seed", SEEDS)
def test_filters_after_each_other(seed: int) -> None:
    """Scores that are -inf already stay out of every sum."""
    scores = keep_top_k(scores_of(seed), 20)
    typical = by_theirs(theirs.TypicalLogitsWarper(0.8), [], scores)
    assert torch.equal(keep_typical(scores, 0.8), typical)
    assert torch.equal(keep_top_p(scores, 0.8), by_theirs(theirs.TopPLogitsWarper(0.8), [], scores))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("penalty", [0.7, 1.3])
def test_repetition(seed: int, penalty: float) -> None:
    scores, history = scores_of(seed), history_of(seed)
    seen = torch.zeros(VOCABULARY, dtype=torch.bool)
    seen[history] = True
    wanted = by_theirs(theirs.RepetitionPenaltyLogitsProcessor(penalty), history, scores)
    assert torch.equal(repeat(scores, seen, penalty), wanted)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_ngrams(seed: int, size: int) -> None:
    """Token by token, from an empty history on."""
    scores, history = scores_of(seed), history_of(seed, 25)
    ngrams = NGrams(size, [])
    for length in range(len(history)):
        wanted = by_theirs(theirs.NoRepeatNGramLogitsProcessor(size), history[:length], scores)
        assert torch.equal(forbid(scores, ngrams.forbidden()), wanted), length
        ngrams.push(history[length])
    assert NGrams(size, history).forbidden() == ngrams.forbidden()


@pytest.mark.parametrize("seed", SEEDS)
def test_bias(seed: int) -> None:
    scores = scores_of(seed)
    wanted = by_theirs(theirs.SequenceBiasLogitsProcessor([[[3], 5.0], [[7], -100.0]]), [1], scores)
    assert torch.allclose(bias(scores, [(3, 5.0), (7, -100.0), (10**6, 1.0)]), wanted)


@pytest.mark.parametrize("made", [0, 2, 3, 9])
def test_least_length(made: int) -> None:
    """No end token among the first three, whatever its score."""
    scores = scores_of(1)
    scores[5] = 99.0
    processor = theirs.MinNewTokensLengthLogitsProcessor(4, 3, eos_token_id=5)
    history = [1] * (4 + made)
    wanted = int(by_theirs(processor, history, scores).argmax())
    chooser = Chooser(Sampling(), history[:4], frozenset({5}), least=3)
    for _ in range(made):
        chooser.choose(scores_of(2))
    assert chooser.choose(scores).token == wanted
    assert (wanted == 5) == (made >= 3)
