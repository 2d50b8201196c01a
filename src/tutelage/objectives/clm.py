"""Causal language modelling: predict each trained token from everything before it.

    loss = sum_i w_i (logsumexp(z_i) - z_i[label_i]),     z_i = head(norm(h_i))

Returned as a sum and a count, so that adding packs, micro-batches or processes is exact by
construction. The scores z are made and turned into gradients a chunk of positions at a time: no
[tokens, vocabulary] array ever exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.models.decoder import Decoder

CHUNK = 256
"""Positions whose scores are in memory at once."""


@dataclass(frozen=True)
class LossSum:
    """`total` nats (weighted, differentiable) over `count` (the weights' sum)."""

    total: Tensor
    count: float


def loss(
    model: Decoder,
    hidden: Float[Tensor, "M C"],
    labels: Int[Tensor, "M"],
    weights: Float[Tensor, "M"],
) -> LossSum:
    """The loss of the trained positions' vectors (before the final norm)."""
    total = _ChunkedLoss.apply(model.norm(hidden), model.head_weight, labels, weights)
    return LossSum(total, float(weights.sum()))


class _ChunkedLoss(torch.autograd.Function):
    """Gradients are made in the forward pass, where each chunk's scores are at hand:
    dz_i = w_i (softmax(z_i) - onehot(label_i)),  dx = dz W,  dW = dz^T x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        used = head.to(x.dtype)
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x)
        train_head = ctx.needs_input_grad[1]
        dhead = torch.zeros_like(head, dtype=torch.float32) if train_head else None
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            scores = torch.nn.functional.linear(x[part], used)
            logs = torch.log_softmax(scores, dim=-1, dtype=torch.float32)
            at, weight = labels[part, None], weights[part, None]
            total -= (logs.gather(1, at) * weight).sum()
            grads = logs.exp_().scatter_add_(1, at, torch.full_like(weight, -1.0))
            grads = grads.mul_(weight).to(x.dtype)
            dx[part] = grads @ used
            if dhead is not None:
                dhead += grads.t() @ x[part]
        ctx.save_for_backward(dx, dhead if dhead is None else dhead.to(head.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dx, dhead = ctx.saved_tensors
        return dx * upstream.to(dx.dtype), None if dhead is None else dhead * upstream, None, None
