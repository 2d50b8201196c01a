"""How the next token is drawn from scores: pure functions on one row of logits.

Order: temperature, min-p, top-k, top-p, typical, one draw. That of vLLM, which has no typical
sampling; min-p and top-k may change places, as neither looks at what the other leaves but for the
greatest score, which both keep.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.lm import Sampling

COLD, COLDEST = 1e-20, 1e-37
"""Temperatures below which scores may overflow, and which float32 still tells from 0."""
SORTED_FIRST = 1024
"""Tokens that are put in order before all are: they nearly always hold the mass looked for."""


def keep_top_k(logits: Float[Tensor, "V"], k: int) -> Float[Tensor, "V"]:
    """Everything below the k-th largest score set to -inf; ties with it stay."""
    if k >= logits.shape[-1]:
        return logits
    smallest = torch.topk(logits, k).values[..., -1, None]
    return torch.where(logits >= smallest, logits, -torch.inf)


def keep_top_p(logits: Float[Tensor, "V"], p: float) -> Float[Tensor, "V"]:
    """The smallest set of most probable tokens whose probabilities sum to at least p, one at least.

    Of equal probabilities the first are kept. Source: Holtzman et al. 2020, arXiv:1904.09751,
    section 3.1.
    """
    return _keep_mass(logits, logits, torch.log_softmax(logits, dim=-1), p)


def keep_min_p(logits: Float[Tensor, "V"], p: float) -> Float[Tensor, "V"]:
    """Tokens at least p times as probable as the likeliest one.

    Source: Nguyen et al. 2024, arXiv:2407.01082, section 3.
    """
    if p == 0:
        return logits
    return torch.where(logits >= logits.max() + math.log(p), logits, -torch.inf)


def keep_typical(logits: Float[Tensor, "V"], p: float) -> Float[Tensor, "V"]:
    """The smallest set reaching p of tokens whose surprise -log p(v) is nearest the entropy H.

    Source: Meister et al. 2022, arXiv:2202.00666, equation 7.
    """
    known = torch.log_softmax(logits, dim=-1)
    entropy = -(known.exp() * known).nansum()
    distance = (-known - entropy).abs()
    return _keep_mass(logits, torch.where(known.isneginf(), -torch.inf, -distance), known, p)


def _keep_mass(
    logits: Float[Tensor, "V"], rank: Float[Tensor, "V"], known: Float[Tensor, "V"], p: float
) -> Float[Tensor, "V"]:
    """The first tokens by `rank`, greatest first, until their probabilities, whose logarithms are
    `known`, sum to p."""
    places, enough = torch.arange(len(rank), device=rank.device), False
    if len(rank) > 2 * SORTED_FIRST:
        threshold = torch.topk(rank, SORTED_FIRST).values[-1]
        first = (rank >= threshold).nonzero()[:, 0]
        enough = bool(known[first].exp().sum() >= p + 1e-6)
        places = first if enough else places
    order = places[torch.argsort(rank[places], descending=True, stable=True)]
    probabilities = known[order].exp()
    before = torch.cumsum(probabilities, dim=-1) - probabilities
    kept = order[: max(1, int((before < p).sum()))]
    return torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])


def cooled(logits: Float[Tensor, "V"], temperature: float) -> Float[Tensor, "V"]:
    """Scores / T. Where that would leave the range of float32 they are first counted from the
    greatest, which stands at 0 then and all others far below."""
    if temperature < COLD:
        return (logits - logits.max()) / max(temperature, COLDEST)
    return logits / temperature


def distribution(logits: Float[Tensor, "V"], sampling: Sampling) -> Float[Tensor, "V"]:
    """What a token is drawn from. Greedy puts everything on the first largest score."""
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), logits.shape[-1]).float()
    scores = cooled(logits.float(), sampling.temperature)
    if sampling.min_p is not None:
        scores = keep_min_p(scores, sampling.min_p)
    if sampling.top_k is not None:
        scores = keep_top_k(scores, sampling.top_k)
    if sampling.top_p is not None:
        scores = keep_top_p(scores, sampling.top_p)
    if sampling.typical_p is not None:
        scores = keep_typical(scores, sampling.typical_p)
    return torch.softmax(scores, dim=-1)


def choose(
    logits: Float[Tensor, "V"], sampling: Sampling, generator: torch.Generator | None
) -> int:
    """One token. The draw comes from the request's own generator, whoever shares the batch."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = distribution(logits, sampling).cpu()
    return int(torch.multinomial(probabilities, 1, generator=generator))
