"""How the next token is chosen from scores: pure functions on one row of logits.

Order: temperature, then top-k, then top-p, then one draw; what OpenAI's and vLLM's users expect.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.lm import Sampling


def keep_top_k(logits: Float[Tensor, "V"], k: int) -> Float[Tensor, "V"]:
    """Everything below the k-th largest score set to -inf; ties with it stay."""
    if k >= logits.shape[-1]:
        return logits
    smallest = torch.topk(logits, k).values[..., -1, None]
    return torch.where(logits >= smallest, logits, -torch.inf)


def keep_top_p(logits: Float[Tensor, "V"], p: float) -> Float[Tensor, "V"]:
    """The smallest set of most probable tokens whose probabilities sum to at least p, one at least.

    Source: Holtzman et al. 2020, arXiv:1904.09751, section 3.1.
    """
    order = torch.argsort(logits, descending=True, stable=True)
    probabilities = torch.softmax(logits[order], dim=-1)
    before = torch.cumsum(probabilities, dim=-1) - probabilities
    dropped = order[1:][before[1:] >= p]
    return logits.index_fill(0, dropped, -torch.inf)


def distribution(logits: Float[Tensor, "V"], sampling: Sampling) -> Float[Tensor, "V"]:
    """What a token is drawn from. Greedy puts everything on the first largest score."""
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), logits.shape[-1]).float()
    scores = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        scores = keep_top_k(scores, sampling.top_k)
    if sampling.top_p is not None:
        scores = keep_top_p(scores, sampling.top_p)
    return torch.softmax(scores, dim=-1)


def choose(
    logits: Float[Tensor, "V"], sampling: Sampling, generator: torch.Generator | None
) -> int:
    """One token. The draw comes from the request's own generator, whoever shares the batch."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = distribution(logits, sampling).cpu()
    return int(torch.multinomial(probabilities, 1, generator=generator))
