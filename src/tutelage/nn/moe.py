"""A feed-forward network of many experts, of which each token uses few.

    p = softmax(W_r x),   y = sum over the k experts e with the highest p_e of g_e expert_e(x)

`g` is p itself (Switch, k = 1) or p divided by the sum of the chosen (Mixtral). An expert may take
at most `capacity` tokens of a row, the first that come; those beyond it pass the network by.
Source: Shazeer et al. 2017, arXiv:1701.06538, section 2; Fedus et al. 2022, arXiv:2101.03961,
section 2.2 (top-1, capacity, balance) and 2.4 (the router in float32); Jiang et al. 2024,
arXiv:2401.04088, section 2.1 (top-2). The paper's capacity is one of a whole batch, which makes an
answer depend on its neighbours; here it is a row's, as in transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutelage.nn.attend import State
from tutelage.nn.attention import Pass
from tutelage.nn.linear import Linear


@dataclass(frozen=True)
class Routing:
    """Which experts each token uses: `chosen` by falling probability, with `gains`; `kept` where
    the expert had room."""

    scores: Float[Tensor, "N E"]
    probabilities: Float[Tensor, "N E"]
    chosen: Int[Tensor, "N k"]
    gains: Float[Tensor, "N k"]
    kept: Bool[Tensor, "N k"]

    @property
    def asked(self) -> Float[Tensor, "N E"]:
        """1 where a token was sent to an expert, dropped there or not."""
        return torch.zeros_like(self.probabilities).scatter_(1, self.chosen, 1.0)

    def balance(self) -> Float[Tensor, ""]:
        """E sum_e f_e P_e, with f_e the tokens sent to expert e over all tokens and P_e the mean of
        its probability: k where all experts are used alike, more where they are not.

        Source: Fedus et al. 2022, eq. 4 to 6. Tokens count where they were sent, dropped or not.
        """
        count = self.probabilities.shape[1]
        return count * (self.asked.mean(0) * self.probabilities.mean(0)).sum()

    def z(self) -> Float[Tensor, ""]:
        """Mean over tokens of (log sum_e exp(score_e))^2, which keeps scores small.

        Source: Zoph et al. 2022, arXiv:2202.08906, eq. 5.
        """
        return torch.logsumexp(self.scores, dim=-1).square().mean()


def route(scores: Float[Tensor, "N E"], top: int, *, shared: bool) -> Routing:
    """The routing of these scores, everything kept; `shared` makes a token's gains sum to 1."""
    scores = scores.float()
    probabilities = torch.softmax(scores, dim=-1)
    gains, chosen = probabilities.topk(top, dim=-1)
    if shared:
        gains = gains / gains.sum(-1, keepdim=True)
    return Routing(scores, probabilities, chosen, gains, torch.ones_like(chosen, dtype=torch.bool))


def places(
    asked: Float[Tensor, "B T E"], lengths: Int[Tensor, "B"], before: State | None
) -> tuple[Float[Tensor, "B T E"], State]:
    """How many earlier tokens of its row each token finds at every expert: a `Scan` of
    `nn/attend.py`, so that a token that is decoded finds those of the steps before it."""
    within = torch.arange(asked.shape[1], device=asked.device) < lengths[:, None]
    asked = asked * within[..., None]
    start = torch.zeros_like(asked[:, 0]) if before is None else before[0]
    return start[:, None] + asked.cumsum(1) - asked, (start + asked.sum(1),)


class Experts(nn.Module):
    """Takes the place of an MLP. `balance_weight` and `z_weight` are what its balance and its
    scores' size count in the loss of training."""

    def __init__(
        self, width: int, experts: Sequence[nn.Module], top: int, *, shared: bool,
        balance_weight: float = 0.01, z_weight: float = 0.0, bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.router = Linear(width, len(experts), "router", bias)
        self.experts = nn.ModuleList(experts)
        self.top, self.shared = top, shared
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.routing: Routing | None = None
        """Of the last pass."""

    def route(self, x: Float[Tensor, "N C"]) -> Routing:
        """In float32 whatever x is: rounded scores would send tokens elsewhere."""
        return route(self.router(x.float()), self.top, shared=self.shared)

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return self.used(x, self.route(x))

    def used(self, x: Float[Tensor, "N C"], found: Routing) -> Float[Tensor, "N C"]:
        """What the experts make of the tokens they keep; 0 of the others."""
        self.routing = found
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where((found.chosen == number) & found.kept)
            if len(token):
                made = expert(x[token]) * found.gains[token, choice, None].to(x.dtype)
                y = y.index_add(0, token, made)
        return y

    def side_loss(self) -> Float[Tensor, ""] | None:
        """Of the last pass."""
        if self.routing is None:
            return None
        return self.balance_weight * self.routing.balance() + self.z_weight * self.routing.z()


class CrowdedExperts(Experts):
    """Experts with room for `capacity` tokens of a row. They must see all tokens of it, those too
    whose results nobody wants, because they take room (`nn/block.py`: CrowdedPreNorm)."""

    def __init__(
        self, width: int, experts: Sequence[nn.Module], capacity: int, *,
        balance_weight: float = 0.01, z_weight: float = 0.0, bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            width, experts, 1, shared=False, balance_weight=balance_weight, z_weight=z_weight,
            bias=bias,
        )  # fmt: skip
        self.capacity = capacity

    def crowded(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N C"]:
        found = self.route(x)
        before = at.attend.scan(at.layer, places, found.asked.detach())
        kept = before.gather(1, found.chosen) < self.capacity
        return self.used(x, replace(found, kept=kept))


def side_loss(model: nn.Module) -> Float[Tensor, ""] | None:
    """Sum of what all experts' last passes add to the loss; None for a model without any."""
    found = [part.side_loss() for part in model.modules() if isinstance(part, Experts)]
    parts = [one for one in found if one is not None]
    return torch.stack(parts).sum() if parts else None
