"""Induction heads: [a] [b] ... [a] -> [b], scored head by head.

A random sequence of T tokens is read twice in a row. Where a token stands for the second time, an
induction head attends to the token that came after it the first time:

    score(head) = mean over t of weight(T + t -> t + 1),  t = 0 ... T - 2

1 is a perfect head, 1 / (T + t + 1) attention to everything alike. Olsson et al. 2022,
arXiv:2209.11895, section "prefix matching score".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.inspect.watch import watch
from tutelage.models.transformer import Transformer

LENGTH = 48
SEQUENCES = 4


@dataclass(frozen=True)
class Score:
    """Of one head, the mean over sequences; `deviation` is that of the sequences."""

    layer: int
    head: int
    score: float
    deviation: float


def score_of(weights: Float[Tensor, "H S S"], length: int) -> Float[Tensor, "H"]:
    """From attention weights over a sequence of `length` tokens, twice."""
    places = torch.arange(length - 1)
    return weights[:, length + places, places + 1].mean(dim=-1)


def induction(
    model: Transformer,
    vocabulary: Sequence[int],
    lead: Sequence[int] = (),
    seed: int = 0,
    length: int = LENGTH,
    sequences: int = SEQUENCES,
) -> list[Score]:
    """All heads, the highest first. Tokens are drawn from `vocabulary`; `lead` stands first, as a
    start token does."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(sequences):
        picked = torch.randint(len(vocabulary), (length,), generator=generator).tolist()
        once = [vocabulary[place] for place in picked]
        seen = watch(model, [*lead, *once, *once])
        start = len(lead)
        drawn.append(torch.stack([score_of(w[:, start:, start:], length) for w in seen.weights]))
    scores = torch.stack(drawn)  # [N L H]
    mean, spread = scores.mean(dim=0), scores.std(dim=0, correction=0)
    found = [
        Score(layer, head, float(mean[layer, head]), float(spread[layer, head]))
        for layer in range(mean.shape[0])
        for head in range(mean.shape[1])
    ]
    return sorted(found, key=lambda one: -one.score)
