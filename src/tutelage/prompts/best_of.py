"""Several answers to one prompt, and the best of them by the model's own judgement.

    worth of an answer = sum of log p(token) / number of tokens

Source: OpenAI's reference of the API, `best_of` ("the highest log probability per token").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.decoding import hold
from tutelage.lm import Completion, Request

MOST_ANSWERS = 64
SEEDS = 2**63


def drawn(request: Request, n: int, best_of: int | None = None) -> list[Request]:
    """`request` so many times, the i-th with the i-th seed after its own; log-probabilities are
    asked for where the best are to be chosen.

    Raises ConfigError for numbers that cannot be, and for several answers that must be the same.
    """
    count = n if best_of is None else best_of
    hold("n", n, 1 <= n <= MOST_ANSWERS, f"1 to {MOST_ANSWERS}")
    hold("best_of", count, n <= count <= MOST_ANSWERS, f"n to {MOST_ANSWERS}, n being {n}")
    alike = count > 1 and request.sampling.temperature == 0
    hold("best_of" if n == 1 else "n", count, not alike, "1 with a temperature of 0")
    if count > n and request.logprobs is None:
        request = replace(request, logprobs=0)
    return [_seeded(request, place) for place in range(count)]


def best(completions: Sequence[Completion], n: int) -> list[Completion]:
    """The `n` answers with the greatest mean log-probability of their tokens, best first."""
    scored = [replace(one, score=mean_logprob(one)) for one in completions]
    ordered = sorted(scored, key=lambda one: -(one.score or 0.0))
    return ordered[:n]


def mean_logprob(completion: Completion) -> float:
    """Mean log-probability of an answer's tokens; an empty answer is the worst."""
    found = [one.log_probability or 0.0 for one in completion.logprobs]
    return sum(found) / len(found) if found else -1e9


def _seeded(request: Request, place: int) -> Request:
    seed = (request.sampling.seed + place) % SEEDS
    return replace(request, sampling=replace(request.sampling, seed=seed))
