"""Attention for training on packed rows: every row sees itself and a prefix they may all share.

A pack is one axis of N tokens: first the P tokens of the shared prefix, then each row's own tokens.
On a CPU the C++ library walks the rows as they stand. Elsewhere rows of similar length are gathered
into rectangles ("buckets", padded on the right, so that causality alone hides the padding) for
PyTorch's attention, and results are put back.

Each token of a shared prefix is computed once; its keys and values sum the gradients of all rows,
so sharing changes the cost and not the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.kernels import packed as kernel
from tutelage.kernels.library import computes
from tutelage.kernels.packed import CHUNK, Pieces


@dataclass(frozen=True)
class Bucket:
    """Rows of one rectangle; `index` gathers their tokens from the pack."""

    index: Int[Tensor, "BT"]
    rows: int
    length: int


@dataclass(frozen=True)
class Layout:
    """How a pack's tokens stand in rows: `rows` for the C++ library, and `runs`, the same cut for
    its forward pass; `buckets` for PyTorch, where `back` finds each token's own slot."""

    rows: Pieces
    runs: Pieces
    buckets: tuple[Bucket, ...]
    back: Int[Tensor, "N"]

    @staticmethod
    def of(plan: Any, device: str = "cpu") -> Layout:
        """From the plain arrays of `data/pack.py`."""
        buckets = (
            Bucket(torch.from_numpy(b.index).to(device), b.rows, b.length) for b in plan.buckets
        )
        rows, runs = (
            Pieces.of(plan.spans, plan.prefix, chunk).with_prefix_row(chunk)
            for chunk in (None, CHUNK)
        )
        return Layout(rows, runs, tuple(buckets), torch.from_numpy(plan.back).to(device))


class PackedAttention:
    """An Attend for one pack."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if computes(q):
            mixed: Tensor = _Kernel.apply(q, k, v, self.layout)
            return mixed
        return in_buckets(q, k, v, self.layout)


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        y, lse = kernel.forward(q, k, v, layout.runs)
        ctx.save_for_backward(q, k, v, y, lse)
        ctx.rows = layout.rows
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, y, lse = ctx.saved_tensors
        return *kernel.backward(q, k, v, y, lse, dy, ctx.rows), None


def in_buckets(
    q: Float[Tensor, "N H D"], k: Float[Tensor, "N K D"], v: Float[Tensor, "N K D"], layout: Layout
) -> Float[Tensor, "N H D"]:
    """PyTorch's own fused attention and its backward, bucket by bucket."""
    parts = []
    for bucket in layout.buckets:
        query, key, value = (_gather(x, bucket).transpose(1, 2) for x in (q, k, v))
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(mixed.transpose(1, 2).reshape(-1, *q.shape[1:]))
    return torch.cat(parts).index_select(0, layout.back)


def _gather(x: Float[Tensor, "N heads D"], bucket: Bucket) -> Float[Tensor, "B T heads D"]:
    return x.index_select(0, bucket.index).view(bucket.rows, bucket.length, *x.shape[1:])
