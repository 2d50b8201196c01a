"""Cross-entropy over a vocabulary: the loss that every objective of language modelling ends in.

    loss = sum_i w_i (logsumexp(z_i) - z_i[label_i]),     z_i = W prepare(h_i) + b

Returned as a sum and a count, so that adding packs, micro-batches or processes is exact by
construction. The scores z are made and turned into gradients a chunk of positions at a time: no
[tokens, vocabulary] array ever exists. Knows nothing of what is hidden from the model or why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.models.forward import Model

CHUNK, FROZEN_CHUNK = 256, 64
"""Positions whose scores are in memory at once. Of a head that is trained a chunk's gradient is as
large as the head and is added to the others'; of one that is not, few at a time cost nothing."""


@dataclass(frozen=True)
class LossSum:
    """`total` nats (weighted, differentiable) over `count` (the weights' sum)."""

    total: Tensor
    count: float


def loss(
    model: Model,
    hidden: Float[Tensor, "M C"],
    labels: Int[Tensor, "M"],
    weights: Float[Tensor, "M"],
    z: float = 0.0,
    smoothing: float = 0.0,
) -> LossSum:
    """The loss of the trained positions' vectors (before the final norm).

    Two things change the gradient and not the total, which stays what is measured. `z` adds
    w_i z logsumexp(z_i)^2, which keeps scores from drifting. Source: Chowdhery et al. 2022,
    arXiv:2204.02311, section 5 (z-loss, 1e-4 there). `smoothing` spreads that share of each label
    evenly over the vocabulary. Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (label
    smoothing); 0.1 in Vaswani et al. 2017, arXiv:1706.03762, section 5.4.
    """
    x = model.prepare(hidden)
    head, bias = model.head_weight, model.head_bias
    total = _ChunkedLoss.apply(x, head, bias, labels, weights, z, smoothing)
    return LossSum(total, float(weights.sum()))


class _ChunkedLoss(torch.autograd.Function):
    """Gradients are made in the forward pass, where each chunk's scores are at hand:
    dz_i = w_i (softmax(z_i) - onehot(label_i)),  dx = dz W,  dW = dz^T x,  db = sum_i dz_i."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, head: Tensor, bias: Tensor | None, labels: Tensor, weights: Tensor,
        z: float, smoothing: float,
    ) -> Tensor:  # fmt: skip
        used = head.to(x.dtype)
        shift = None if bias is None else bias.to(x.dtype)
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x)
        train_head = ctx.needs_input_grad[1]
        dhead: Tensor | None = None
        dbias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        size = CHUNK if train_head else FROZEN_CHUNK
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            scores = torch.nn.functional.linear(x[part], used, shift)
            logs = torch.log_softmax(scores, dim=-1, dtype=torch.float32)
            at, weight = labels[part, None], weights[part, None]
            total -= (logs.gather(1, at) * weight).sum()
            shares = logs.exp_()
            if z:  # the gradient of lse^2 is 2 lse softmax
                shares *= 1 + 2 * z * torch.logsumexp(scores.float(), dim=-1, keepdim=True)
            grads = shares.scatter_add_(1, at, torch.full_like(weight, smoothing - 1.0))
            if smoothing:
                grads -= smoothing / len(head)
            grads = grads.mul_(weight).to(x.dtype)
            dx[part] = grads @ used
            if train_head:
                more = grads.t() @ x[part]
                dhead = more.to(head.dtype) if dhead is None else dhead.add_(more)
            if dbias is not None:
                dbias += grads.sum(0)
        ctx.dx, ctx.dhead, ctx.dbias = dx, dhead, dbias
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        # In place: a second array of the head's size would cost more than the multiplication.
        dhead = None if ctx.dhead is None else ctx.dhead.mul_(upstream)
        dbias = None if ctx.dbias is None else ctx.dbias * upstream
        return ctx.dx * upstream.to(ctx.dx.dtype), dhead, dbias, None, None, None, None
