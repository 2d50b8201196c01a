"""Log-probabilities of given continuations, read in packs without generating anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.data.pack import Example, batch, memory_of, pack
from tutelage.generate.chooser import Logprobs, logprobs
from tutelage.machine.memory import trim
from tutelage.models.forward import Model, forward

PACK_TOKENS = 2048
SAVED = 64
"""Tokens that must not be read again for a step of its own to be worth it."""
MOST = 64
"""Continuations of one prompt in a step."""
CHUNK = 256
"""Positions whose logits are in memory at once."""


@dataclass(frozen=True)
class TokenScores:
    """For each token of a continuation: its log-probability, and whether it was the likeliest."""

    log_probabilities: tuple[float, ...]
    greedy: tuple[bool, ...]


def score(model: Model, examples: Sequence[Example], exact: bool = False) -> list[TokenScores]:
    """Score every example's completion after its prompt, in nats.

    `exact` reads each example alone, so that nothing depends on what shares the pack.
    """
    steps = [[i] for i in range(len(examples))] if exact else _steps(examples)
    results: list[TokenScores | None] = [None] * len(examples)
    with torch.inference_mode():
        for rows in steps:
            for row, scores in zip(rows, _score([examples[i] for i in rows], model), strict=True):
                results[row] = scores
            trim()  # the next pack's arrays are of other sizes and would not fit into these
    return [scores for scores in results if scores is not None]


def tell(model: Model, ids: Sequence[int], lead: int, count: int) -> list[Logprobs]:
    """Of every token of a row but its first: its log-probability and those of the `count` likeliest
    tokens in its place. The first `lead` tokens are read both ways."""
    example = Example.answer(ids[:1], ids[1:], lead=lead)
    told: list[Logprobs] = []
    with torch.inference_mode():
        hidden = forward(model, pack([example]))
        for part, labels in zip(
            hidden.split(CHUNK), torch.tensor(example.labels).split(CHUNK), strict=True
        ):
            logits = model.logits(part)
            rows = zip(logits, labels.tolist(), strict=True)
            told += [logprobs(scores, token, count) for scores, token in rows]
    return told


def _steps(examples: Sequence[Example]) -> list[list[int]]:
    """Which examples are read together: those that continue one long prompt, as the choices of a
    question do, apart from all others, so that the prompt is read once; the rest by length."""
    asked: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for index, one in enumerate(examples):
        asked.setdefault((one.ids[: one.at[0] + 1], one.memory), []).append(index)
    apart = [
        members
        for (prompt, memory), members in asked.items()
        if (len(members) - 1) * len(prompt) >= SAVED and not memory
    ]
    taken = {index for members in apart for index in members}
    rest = sorted(set(range(len(examples))) - taken, key=lambda i: examples[i].inputs)
    alike = [one[start : start + MOST] for one in apart for start in range(0, len(one), MOST)]
    return [*alike, *(list(step) for step in batch(examples, rest, PACK_TOKENS))]


def _score(examples: list[Example], model: Model) -> list[TokenScores]:
    plan = pack(examples)
    memory = memory_of(examples) if any(one.memory for one in examples) else None
    labels = torch.from_numpy(plan.labels).to(model.device)
    hidden = forward(model, plan, memory)
    values: list[float] = []
    likeliest: list[bool] = []
    for part, wanted in zip(hidden.split(CHUNK), labels.split(CHUNK), strict=True):
        log_probabilities, greedy = _judged(model.logits(part), wanted)
        values += log_probabilities
        likeliest += greedy
    scores: list[TokenScores] = []
    start = 0
    for example in examples:
        end = start + example.trained
        scores.append(TokenScores(tuple(values[start:end]), tuple(likeliest[start:end])))
        start = end
    return scores


def _judged(
    logits: Float[Tensor, "N V"], wanted: Int[Tensor, "N"]
) -> tuple[list[float], list[bool]]:
    """Log-probability of each wanted token, and whether it is the likeliest. In a function of its
    own, so that these logits are gone before the next are made."""
    chosen = logits.gather(1, wanted[:, None])[:, 0]
    log_probabilities = (chosen - torch.logsumexp(logits, dim=-1)).tolist()
    return log_probabilities, (logits.argmax(-1) == wanted).tolist()
