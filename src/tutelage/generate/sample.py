"""How the next token is drawn from scores: pure functions on one row of logits.

Order: temperature, min-p, top-k, top-p, typical, one draw. That of vLLM, which has no typical
sampling; min-p and top-k may change places, as neither looks at what the other leaves but for the
greatest score, which both keep.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.errors import NotNumbersError
from tutelage.lm import Sampling

COLD, COLDEST = 1e-20, 1e-37
"""Temperatures below which scores may overflow, and which float32 still tells from 0."""
SORTED_FIRST = 1024
"""Tokens that are put in order before all are: they nearly always hold the mass looked for."""
LIKELY = 1e-4
"""The same by their probability: no more than 10,000 tokens have as much, mostly some dozens."""
ROUNDING = 1e-6
BROKEN = -1
"""No token: the scores are no numbers."""
PARTS = 512
"""Of a row, whose greatest scores say what the k largest of it are not below."""


def keep_top_k(logits: Float[Tensor, "V"], k: int) -> Float[Tensor, "V"]:
    """Everything below the k-th largest score set to -inf; ties with it stay."""
    if k >= len(logits):
        return logits
    smallest = torch.topk(_large(logits, k), k).values[-1]
    return torch.where(logits >= smallest, logits, -torch.inf)


def _large(logits: Float[Tensor, "V"], k: int) -> Float[Tensor, "W"]:
    """Scores of which k are the k largest: those that are not below the k-th largest of what parts
    of the row have as their greatest, for as many are no smaller. To put a whole vocabulary in
    order takes far longer."""
    size = len(logits) // PARTS
    if k > PARTS or size < 2:
        return logits
    greatest = logits[: PARTS * size].view(PARTS, size).amax(-1)
    return logits[logits >= torch.topk(greatest, k).values[-1]]


def keep_top_p(logits: Float[Tensor, "V"], p: float) -> Float[Tensor, "V"]:
    """The smallest set of most probable tokens whose probabilities sum to at least p, one at least.

    Of equal probabilities the first are kept. Source: Holtzman et al. 2020, arXiv:1904.09751,
    section 3.1.
    """
    if p >= 1:
        return logits
    probabilities = torch.softmax(logits, dim=-1)
    return _keep_mass(logits, logits, probabilities, p, _likeliest(probabilities, p))


def _likeliest(probabilities: Float[Tensor, "V"], p: float) -> Int[Tensor, "W"]:
    """Places of which the first by probability sum to p: those above a probability, if they reach
    it; else those above (1 - p) / V, as V tokens below that sum to less than 1 - p."""
    places = (probabilities >= LIKELY).nonzero()[:, 0]
    if float(probabilities[places].sum()) >= p + ROUNDING:
        return places
    return (probabilities >= (1 - p) / len(probabilities)).nonzero()[:, 0]


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
    rank, probabilities = torch.where(known.isneginf(), -torch.inf, -distance), known.exp()
    return _keep_mass(logits, rank, probabilities, p, _nearest(rank, probabilities, p))


def _nearest(
    rank: Float[Tensor, "V"], probabilities: Float[Tensor, "V"], p: float
) -> Int[Tensor, "W"]:
    """Places of which the first by `rank` sum to p."""
    if len(rank) > 2 * SORTED_FIRST:
        threshold = torch.topk(rank, SORTED_FIRST).values[-1]
        first = (rank >= threshold).nonzero()[:, 0]
        if float(probabilities[first].sum()) >= p + ROUNDING:
            return first
    return torch.arange(len(rank), device=rank.device)


def _keep_mass(
    logits: Float[Tensor, "V"], rank: Float[Tensor, "V"], probabilities: Float[Tensor, "V"],
    p: float, places: Int[Tensor, "W"],
) -> Float[Tensor, "V"]:  # fmt: skip
    """The first tokens of these places by `rank`, greatest first, until they sum to p."""
    order = places[torch.argsort(rank[places], descending=True, stable=True)]
    sums = torch.cumsum(probabilities[order], dim=-1)
    before = sums - probabilities[order]
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


def likeliest(logits: Float[Tensor, "*B V"]) -> Int[Tensor, "*B"]:
    """The token of the greatest score, BROKEN where that is infinite or no number."""
    greatest, tokens = logits.max(-1)
    return torch.where(greatest.isfinite(), tokens, BROKEN)


def numbers(logits: Float[Tensor, "*B V"], token: int) -> Float[Tensor, "*B V"]:
    """The same scores, of an answer's `token`-th token. Raises NotNumbersError if they are none."""
    if bool((likeliest(logits) == BROKEN).any()):
        raise not_numbers(f"token {token}")
    return logits


def not_numbers(place: str) -> NotNumbersError:
    return NotNumbersError(
        "a score of the model is not a number",
        field=place,
        hint="the model's weights, or what they compute in this number format, are broken",
    )


def choose(
    logits: Float[Tensor, "V"], sampling: Sampling, generator: torch.Generator | None
) -> int:
    """One token. The draw comes from the request's own generator, whoever shares the batch."""
    if sampling.temperature == 0:
        return int(logits.cpu().numpy().argmax())  # of equals the first, which torch leaves open
    return draw(distribution(logits, sampling).cpu(), generator)


def draw(probabilities: Float[Tensor, "V"], generator: torch.Generator | None) -> int:
    """The first token v with p_1 + ... + p_v >= u, u uniform in (0, 1]: one number a draw, where
    `torch.multinomial` draws one for every token of the vocabulary.

    Source: Devroye 1986, Non-Uniform Random Variate Generation, section III.2.1.
    """
    sums = torch.cumsum(probabilities, dim=-1, dtype=torch.float64)
    u = 1 - torch.rand((), dtype=torch.float64, generator=generator)
    return int(torch.searchsorted(sums, u * sums[-1]))
