"""A feed-forward network of many experts, of which each token uses few.

    p = softmax(W_r x),   y = sum over the k experts e with the highest p_e of g_e expert_e(x)

`g` is p itself (Switch, k = 1) or p divided by the sum of the chosen (Mixtral). An expert takes at
most `capacity` tokens of a pass, the first that come; what is beyond it passes the network by.
Source: Shazeer et al. 2017, arXiv:1701.06538, section 2; Fedus et al. 2022, arXiv:2101.03961,
section 2.2 (top-1, capacity, balance); Jiang et al. 2024, arXiv:2401.04088, section 2.1 (top-2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutelage.nn.linear import Linear


@dataclass(frozen=True)
class Routing:
    """Which experts each token uses: `chosen` by falling probability, with `gains`; `kept` where
    the expert had room."""

    probabilities: Float[Tensor, "N E"]
    chosen: Int[Tensor, "N k"]
    gains: Float[Tensor, "N k"]
    kept: Bool[Tensor, "N k"]

    def balance(self) -> Float[Tensor, ""]:
        """E sum_e f_e P_e, with f_e the tokens sent to expert e over all tokens and P_e the mean of
        its probability: k where all experts are used alike, more where they are not.

        Source: Fedus et al. 2022, eq. 4 to 6. Tokens count where they were sent, dropped or not.
        """
        count = self.probabilities.shape[1]
        sent = torch.zeros_like(self.probabilities).scatter_add_(
            1, self.chosen, torch.ones_like(self.gains)
        )
        return count * (sent.mean(0) * self.probabilities.mean(0)).sum()


def route(
    scores: Float[Tensor, "N E"], top: int, *, shared: bool, capacity: int | None = None
) -> Routing:
    """The routing of these scores; `shared` makes the gains of a token sum to 1."""
    probabilities = torch.softmax(scores.float(), dim=-1)
    gains, chosen = probabilities.topk(top, dim=-1)
    if shared:
        gains = gains / gains.sum(-1, keepdim=True)
    kept = torch.ones_like(chosen, dtype=torch.bool)
    if capacity is not None:
        kept = _places(chosen, scores.shape[1]) < capacity
    return Routing(probabilities, chosen, gains, kept)


def capacity_of(tokens: int, experts: int, top: int, factor: float) -> int:
    """Tokens an expert takes: `factor` times its even share, rounded up."""
    return math.ceil(factor * tokens * top / experts)


def _places(chosen: Int[Tensor, "N k"], experts: int) -> Int[Tensor, "N k"]:
    """How many tokens each choice finds at its expert already: first choices of all tokens come
    before second ones, tokens in their order."""
    order = chosen.t().reshape(-1)
    asked = nn.functional.one_hot(order, experts)
    before = (asked.cumsum(0) - asked).gather(1, order[:, None])[:, 0]
    return before.view(chosen.shape[1], chosen.shape[0]).t()


class Experts(nn.Module):
    """Takes the place of an MLP. `balance_weight` is what its balance counts in the loss of
    training; `capacity_factor` None drops no token."""

    def __init__(
        self, width: int, experts: Sequence[nn.Module], top: int, *, shared: bool,
        capacity_factor: float | None = None, balance_weight: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.router = Linear(width, len(experts), "router")
        self.experts = nn.ModuleList(experts)
        self.top, self.shared = top, shared
        self.capacity_factor = capacity_factor
        self.balance_weight = balance_weight
        self.routing: Routing | None = None
        """Of the last pass."""

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        capacity = None
        if self.capacity_factor is not None:
            capacity = capacity_of(len(x), len(self.experts), self.top, self.capacity_factor)
        found = route(self.router(x), self.top, shared=self.shared, capacity=capacity)
        self.routing = found
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where((found.chosen == number) & found.kept)
            if len(token):
                made = expert(x[token]) * found.gains[token, choice, None].to(x.dtype)
                y = y.index_add(0, token, made)
        return y


def side_loss(model: nn.Module) -> Float[Tensor, ""] | None:
    """Sum of the weighted balances of all experts' last passes; None for a model without any."""
    parts = [
        part.balance_weight * part.routing.balance()
        for part in model.modules()
        if isinstance(part, Experts) and part.routing is not None
    ]
    return torch.stack(parts).sum() if parts else None
