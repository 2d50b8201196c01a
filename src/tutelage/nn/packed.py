"""Attention for training on packed rows: every row sees itself and a prefix they may all share.

A pack is one axis of N tokens: first the P tokens of the shared prefix, then each row's own tokens.
Where a layer's rule is plain causal attention, on a CPU the C++ library walks the rows as they
stand. Elsewhere rows of similar length are gathered into rectangles ("buckets", padded on the
right, so that causality alone hides the padding, or a mask does) for PyTorch's attention, and
results are put back.

Each token of a shared prefix is computed once; its keys and values sum the gradients of all rows,
so sharing changes the cost and not the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.kernels import packed as kernel
from tutelage.kernels.library import computes
from tutelage.kernels.packed import CHUNK, Pieces
from tutelage.nn.attend import Rule, Scan, attended, mask_of
from tutelage.nn.sparse import QUERIES, sparse


@dataclass(frozen=True)
class Bucket:
    """Rows of one rectangle, `members` by number; `index` gathers their tokens from the pack,
    of which each row has `lengths` before padding repeats the last. `lead` is None where no row
    has one."""

    index: Int[Tensor, "BT"]
    rows: int
    length: int
    lengths: Int[Tensor, "B"]
    members: Int[Tensor, "B"]
    lead: Int[Tensor, "B"] | None = None

    @property
    def even(self) -> bool:
        """Whether no row is padded."""
        return bool((self.lengths == self.length).all())


@dataclass(frozen=True)
class Layout:
    """How a pack's tokens stand in rows: `rows` for the C++ library, and `runs`, the same cut for
    its forward pass; `buckets` for PyTorch, where `back` finds each token's own slot; `memory` the
    buckets, row for row the same, of the tokens that cross-attention reads."""

    rows: Pieces
    runs: Pieces
    buckets: tuple[Bucket, ...]
    back: Int[Tensor, "N"]
    memory: tuple[Bucket, ...] = ()
    led: bool = False

    @staticmethod
    def of(plan: Any, device: str = "cpu", memory: Any | None = None) -> Layout:
        """From the plain arrays of `data/pack.py`; `memory` is the pack of the encoder's tokens."""
        rows, runs = (
            Pieces.of(plan.spans, plan.prefix, chunk).with_prefix_row(chunk)
            for chunk in (None, CHUNK)
        )
        return Layout(
            rows,
            runs,
            tuple(_bucket(b, plan.leads, device) for b in plan.buckets),
            torch.from_numpy(plan.back).to(device),
            tuple(_aligned(b.members, memory.spans, device) for b in plan.buckets)
            if memory is not None
            else (),
            any(plan.leads),
        )


def _bucket(plan: Any, leads: Sequence[int], device: str) -> Bucket:
    lead = [leads[row] for row in plan.members] if any(leads) else None
    return Bucket(
        torch.from_numpy(plan.index).to(device),
        plan.rows,
        plan.length,
        torch.tensor(plan.lengths, device=device),
        torch.tensor(plan.members, device=device),
        None if lead is None else torch.tensor(lead, device=device),
    )


def _aligned(members: Sequence[int], spans: Sequence[tuple[int, int]], device: str) -> Bucket:
    """The memory of these rows as a rectangle."""
    rows = [spans[row] for row in members]
    longest = max(length for _, length in rows)
    index = np.stack([start + np.minimum(np.arange(longest), n - 1) for start, n in rows])
    return Bucket(
        torch.from_numpy(index.reshape(-1)).to(device),
        len(rows),
        longest,
        torch.tensor([length for _, length in rows], device=device),
        torch.tensor(members, device=device),
    )


class PackedAttention:
    """An Attend for one pack."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        # Where later tokens are seen, a beginning that rows share is not the same in all of them.
        assert rule.causal or not self.layout.rows.prefix, "a beginning shared by rows read whole"
        if rule.plain and not self.layout.led and computes(q):
            mixed: Tensor = _Kernel.apply(q, k, v, self.layout)
            return mixed
        return in_buckets(q, k, v, self.layout, rule)

    def cross(
        self, layer: int, q: Tensor, memory: Callable[[], tuple[Tensor, Tensor]], rule: Rule
    ) -> Tensor:
        k, v = memory()
        parts = []
        for bucket, other in zip(self.layout.buckets, self.layout.memory, strict=True):
            places = torch.arange(bucket.length, device=q.device)[None]
            keys = torch.arange(other.length, device=q.device)
            mask = None if other.even else mask_of(rule, places, keys, q.dtype, other.lengths)
            mixed = attended(_gather(q, bucket), _gather(k, other), _gather(v, other), rule, mask)
            parts.append(mixed.flatten(0, 1))
        return torch.cat(parts).index_select(0, self.layout.back)

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        parts = []
        for bucket in self.layout.buckets:
            y, _ = step(_gather(x, bucket), bucket.lengths, None)
            parts.append(y.flatten(0, 1))
        return torch.cat(parts).index_select(0, self.layout.back)


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
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "N K D"],
    v: Float[Tensor, "N K D"],
    layout: Layout,
    rule: Rule | None = None,
) -> Float[Tensor, "N H D"]:
    """PyTorch's own fused attention and its backward, bucket by bucket."""
    rule = rule or Rule()
    parts = []
    for bucket in layout.buckets:
        rows = [_gather(x, bucket) for x in (q, k, v)]
        if rule.sees is not None and bucket.length > 2 * QUERIES and bucket.lead is None:
            mixed = sparse(rows[0], rows[1], rows[2], rule, bucket.lengths)
        else:
            mixed = attended(rows[0], rows[1], rows[2], rule, _mask(bucket, rule, q))
        parts.append(mixed.flatten(0, 1))
    return torch.cat(parts).index_select(0, layout.back)


def _mask(bucket: Bucket, rule: Rule, q: Tensor) -> Tensor | None:
    """None where causality alone, or nothing, hides keys."""
    free = rule.sees is None and rule.bias is None
    if free and (bucket.lead is None if rule.causal else bucket.even):
        return None
    places = torch.arange(bucket.length, device=q.device)
    limit = None if rule.causal else bucket.lengths
    return mask_of(rule, places[None], places, q.dtype, limit, bucket.lead)


def _gather(x: Float[Tensor, "N heads D"], bucket: Bucket) -> Float[Tensor, "B T heads D"]:
    return x.index_select(0, bucket.index).view(bucket.rows, bucket.length, *x.shape[1:])
