"""What speaks for or against tokens before one is chosen: pure functions on one row of logits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def repeat(
    logits: Float[Tensor, "V"], seen: Bool[Tensor, "V"], penalty: float
) -> Float[Tensor, "V"]:
    """x / penalty where x > 0 and x penalty where x < 0, for tokens seen in prompt or answer.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1, with the rule for negative scores
    that transformers and vLLM have.
    """
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def discourage(
    logits: Float[Tensor, "V"], counts: Float[Tensor, "V"], frequency: float, presence: float
) -> Float[Tensor, "V"]:
    """x - frequency n - presence [n > 0], for tokens that stand n times in the answer.

    Source: OpenAI's reference of the API, "frequency and presence penalties".
    """
    return logits - frequency * counts - presence * (counts > 0)


def bias(logits: Float[Tensor, "V"], added: Sequence[tuple[int, float]]) -> Float[Tensor, "V"]:
    """x + b for the tokens named; ids beyond the scores say nothing."""
    given = [(token, value) for token, value in added if token < len(logits)]
    ids = torch.tensor([token for token, _ in given], dtype=torch.long, device=logits.device)
    values = torch.tensor([value for _, value in given], device=logits.device)
    return logits.index_add(0, ids, values.to(logits.dtype))


def forbid(logits: Float[Tensor, "V"], ids: Collection[int]) -> Float[Tensor, "V"]:
    """-inf for the tokens named, unless nothing would be left: then the scores as they were."""
    inside = [token for token in ids if token < len(logits)]
    if not inside:
        return logits
    index = torch.tensor(inside, dtype=torch.long, device=logits.device)
    left = logits.index_fill(0, index, -torch.inf)
    return logits if float(left.amax()) == -math.inf else left


class NGrams:
    """Which tokens would repeat an n-gram of what was read and said.

    Source: Paulus et al. 2018, arXiv:1705.04304, section 2.5 (trigrams).
    """

    def __init__(self, size: int, tokens: Sequence[int]) -> None:
        self.size = size
        self._after: dict[tuple[int, ...], set[int]] = {}
        self._last: tuple[int, ...] = ()
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """One more token was said."""
        whole = (*self._last, token)
        if len(whole) == self.size:
            self._after.setdefault(whole[:-1], set()).add(token)
        keep = self.size - 1
        self._last = whole[-keep:] if keep else ()

    def forbidden(self) -> Collection[int]:
        """Tokens that would make an n-gram a second time."""
        return self._after.get(self._last, ()) if len(self._last) == self.size - 1 else ()
