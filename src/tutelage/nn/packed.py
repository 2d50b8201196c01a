"""Attention for training on packed rows: every row sees itself and a prefix they may all share.

A pack is one axis of N tokens: first the P tokens of the shared prefix, then each row's own tokens.
Rows of similar length are gathered into a rectangle ("bucket", padded on the right, so that
causality alone hides the padding), attention runs on each bucket, and results are put back.

The backward pass is written out: dS = P * (dP - rowsum(dY * Y)), then three products. Only one copy
of a shared prefix token "owns" its query; its keys and values sum the gradients of all copies, so
sharing changes the cost and not the gradient.
Source: Dao et al. 2022, arXiv:2205.14135, algorithm 4 (the delta formulation), without tiling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.nn.attend import (
    FLASH_FROM,
    fold_keys,
    fold_queries,
    rectangle,
    softmax_backward_step,
    unfold_queries,
)


@dataclass(frozen=True)
class Bucket:
    """Rows of one rectangle. `index` gathers their tokens from the pack; `owned` is 1 where a slot
    is the token's own place (not padding, not a copy of the prefix)."""

    index: Int[Tensor, "BT"]
    owned: Float[Tensor, "BT"]
    rows: int
    length: int


@dataclass(frozen=True)
class Layout:
    """How a pack's tokens stand in its buckets: `back` finds each token's own slot; tokens that
    only fill the pack up find the slot after the last, which holds zeros in both directions."""

    buckets: tuple[Bucket, ...]
    back: Int[Tensor, "N"]
    prefix: int

    @staticmethod
    def of(plan: Any, device: str = "cpu") -> Layout:
        """From the plain arrays of `data/pack.py`."""
        buckets = (
            Bucket(torch.from_numpy(b.index).to(device), torch.from_numpy(b.owned).to(device),
                   b.rows, b.length)
            for b in plan.buckets
        )  # fmt: skip
        return Layout(tuple(buckets), torch.from_numpy(plan.back).to(device), plan.prefix)


class PackedAttention:
    """An Attend for one pack. `compiled` fuses the softmax where a compiler is found."""

    def __init__(self, layout: Layout, compiled: bool = False) -> None:
        self.layout = layout
        self.compiled = compiled

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.device.type != "cpu" or any(b.length >= FLASH_FROM for b in self.layout.buckets):
            return self._library(q, k, v)
        return _PackedFunction.apply(q, k, v, self.layout, self.compiled)

    def _library(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """PyTorch's own fused attention and its backward: devices with good kernels, long rows."""
        parts = []
        for bucket in self.layout.buckets:
            query, key, value = (_gather(x, bucket).transpose(1, 2) for x in (q, k, v))
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
            )
            parts.append(mixed.transpose(1, 2).reshape(-1, *q.shape[1:]))
        return _put_back(parts, self.layout)


class _PackedFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout, compiled: bool
    ) -> Tensor:
        parts, sums = [], []
        for bucket in layout.buckets:
            query, key, value = (_gather(x, bucket) for x in (q, k, v))
            mixed, lse = rectangle(query, key, value, True, compiled)
            parts.append(mixed.reshape(-1, *q.shape[1:]))
            sums.append(lse)
        y = _put_back(parts, layout)
        ctx.save_for_backward(q, k, v, y, *sums)
        ctx.layout, ctx.compiled = layout, compiled
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, y, *sums = ctx.saved_tensors
        layout: Layout = ctx.layout
        delta = (dy.float() * y.float()).sum(-1, keepdim=True)
        parts = [
            _bucket_backward(q, k, v, dy, delta, lse, bucket, ctx.compiled)
            for bucket, lse in zip(layout.buckets, sums, strict=True)
        ]
        flat = [
            _put_back([part[i].reshape(-1, *x.shape[1:]) for part in parts], layout)
            for i, x in enumerate((q, k, v))
        ]
        if layout.prefix:
            for i in (1, 2):
                shared = [part[i][:, : layout.prefix].float().sum(0) for part in parts]
                flat[i][: layout.prefix] = torch.stack(shared).sum(0).to(dy.dtype)
        return *flat, None, None


def _bucket_backward(
    q: Tensor, k: Tensor, v: Tensor, dy: Tensor, delta: Tensor, lse: Tensor, bucket: Bucket,
    compiled: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of one rectangle's queries, keys and values, each [B T heads D]."""
    heads, keys, width = q.shape[1], k.shape[1], q.shape[2]
    rows, length = bucket.rows, bucket.length
    square = (rows * keys, heads // keys, length)
    owned = bucket.owned.view(rows, length, 1, 1)
    queries = fold_queries(_gather(q, bucket), keys)
    grads = fold_queries(_gather(dy, bucket) * owned.to(dy.dtype), keys)
    deltas = fold_queries(_gather(delta, bucket) * owned, keys).view(*square, 1)
    key, value = fold_keys(_gather(k, bucket)), fold_keys(_gather(v, bucket))
    scores = torch.bmm(queries, key.transpose(1, 2)).view(*square, length)
    weight_grads = torch.bmm(grads, value.transpose(1, 2)).view(*square, length)
    weights, score_grads = softmax_backward_step(compiled, scores.dtype)(
        scores, lse.reshape(*square, 1), weight_grads, deltas, 1 / math.sqrt(width)
    )
    weights, score_grads = (x.view(rows * keys, -1, length) for x in (weights, score_grads))
    dq = torch.bmm(score_grads, key)
    dk = torch.bmm(score_grads.transpose(1, 2), queries)
    dv = torch.bmm(weights.transpose(1, 2), grads)
    return (
        unfold_queries(dq, rows, heads, length),
        unfold_queries(dk, rows, keys, length),
        unfold_queries(dv, rows, keys, length),
    )


def _gather(x: Float[Tensor, "N heads D"], bucket: Bucket) -> Float[Tensor, "B T heads D"]:
    return x.index_select(0, bucket.index).view(bucket.rows, bucket.length, *x.shape[1:])


def _put_back(parts: list[Float[Tensor, "BT heads D"]], layout: Layout) -> Tensor:
    """[N heads D]: each token's value from its own slot, zeros for filling."""
    zero = parts[0].new_zeros(1, *parts[0].shape[1:])
    return torch.cat([*parts, zero]).index_select(0, layout.back)
