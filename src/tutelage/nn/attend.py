"""Softmax attention over rectangles of tokens, the one place where scores are turned into weights.

    p = softmax(q k^T / sqrt(D) + mask),   y = p v,   lse = log sum exp of the masked scores

Short rectangles are two batched matrix products with a compiled softmax between them; long ones,
and all where nothing is compiled, go to PyTorch's flash attention, which never keeps the scores.
Both return the log-sum-exp, so that attention to a shared prefix and to a row's own tokens can be
computed apart and joined.
Knows nothing of packing, caches or models; see `nn/packed.py` and `nn/cache.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

FLASH_FROM = 1024
"""Rectangles with at least this many keys go to flash attention: measured on CPUs, where its
backward is slower than batched products below and faster above."""


class Attend(Protocol):
    """Which tokens see which: called by the model once a layer with that layer's projections."""

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "N H D"],
        k: Float[Tensor, "N K D"],
        v: Float[Tensor, "N K D"],
    ) -> Float[Tensor, "N H D"]: ...


def rectangle(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B S K D"],
    v: Float[Tensor, "B S K D"],
    causal: bool,
    compiled: bool = False,
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """Attention of every row to its own keys. `causal` needs T == S and hides later keys.
    `compiled` fuses the softmax, which takes a compiler and pays off over many calls."""
    if q.device.type == "cpu" and (k.shape[1] >= FLASH_FROM or not compiled):
        return _flash(q, k, v, causal)
    rows, queries, heads, width = q.shape
    groups = heads // k.shape[2]
    folded = fold_queries(q, k.shape[2])
    keys, values = fold_keys(k), fold_keys(v)
    scores = torch.bmm(folded, keys.transpose(1, 2)).view(-1, groups, queries, k.shape[1])
    weights, lse = softmax_step(compiled, scores.dtype)(scores, 1 / math.sqrt(width), causal)
    mixed = torch.bmm(weights.view(folded.shape[0], -1, k.shape[1]), values)
    return unfold_queries(mixed, rows, heads, queries), lse.view(rows, heads, queries)


def join(
    first: tuple[Float[Tensor, "N H D"], Float[Tensor, "N H"]],
    second: tuple[Float[Tensor, "N H D"], Float[Tensor, "N H"]],
) -> Float[Tensor, "N H D"]:
    """Attention over the union of two disjoint sets of keys, from the attention over each.

    y = (e^{l1} y1 + e^{l2} y2) / (e^{l1} + e^{l2}), with l the log-sum-exp of each part.
    """
    share = torch.sigmoid(first[1] - second[1])[..., None]
    joined = first[0].float() * share + second[0].float() * (1 - share)
    return joined.to(first[0].dtype)


def fold_queries(q: Float[Tensor, "B T H D"], keys: int) -> Float[Tensor, "BK GT D"]:
    """Queries of the G heads that share a key head, one below the other."""
    rows, length, heads, width = q.shape
    grouped = q.view(rows, length, keys, heads // keys, width).permute(0, 2, 3, 1, 4)
    return grouped.reshape(rows * keys, -1, width)


def unfold_queries(x: Float[Tensor, "BK GT D"], rows: int, heads: int, length: int) -> Tensor:
    """The inverse of `fold_queries`: [B T H D]."""
    return x.view(rows, heads, length, -1).transpose(1, 2)


def fold_keys(k: Float[Tensor, "B S K D"]) -> Float[Tensor, "BK S D"]:
    return k.transpose(1, 2).reshape(-1, k.shape[1], k.shape[3])


def _flash(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    mixed, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), 0.0, causal
    )
    return mixed.transpose(1, 2), lse


def _softmax(
    scores: Float[Tensor, "BK G T S"], scale: float, causal: bool
) -> tuple[Float[Tensor, "BK G T S"], Float[Tensor, "BK G T"]]:
    """Softmax weights in the type of the scores, and the log-sum-exp in float32."""
    wide = scores.float() * scale
    if causal:
        step = torch.arange(scores.shape[-1], device=scores.device)
        wide = torch.where(step[None, :] <= step[:, None], wide, -math.inf)
    top = wide.amax(-1, keepdim=True)
    weights = torch.exp(wide - top)
    total = weights.sum(-1, keepdim=True)
    return (weights / total).to(scores.dtype), (top + torch.log(total)).squeeze(-1)


def _softmax_backward(
    scores: Float[Tensor, "BK G T S"],
    lse: Float[Tensor, "BK G T 1"],
    weight_grads: Float[Tensor, "BK G T S"],
    delta: Float[Tensor, "BK G T 1"],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """The causal weights again, and the gradient of the scores: p (dp - delta) / sqrt(D)."""
    step = torch.arange(scores.shape[-1], device=scores.device)
    seen = step[None, :] <= step[:, None]
    weights = torch.exp(torch.clamp_max(scores.float() * scale - lse, 0.0))
    weights = torch.where(seen, weights, 0.0)
    grads = weights * (weight_grads.float() - delta) * scale
    return weights.to(scores.dtype), grads.to(scores.dtype)


@functools.cache
def softmax_step(compiled: bool, kind: torch.dtype) -> Callable[..., tuple[Tensor, Tensor]]:
    """The softmax for scores of one type, fused where `compiled`."""
    if not compiled:
        return _softmax
    fused = torch.compile(_softmax, dynamic=True)
    fused(_sample(kind), 0.125, True)
    return fused


@functools.cache
def softmax_backward_step(
    compiled: bool, kind: torch.dtype
) -> Callable[..., tuple[Tensor, Tensor]]:
    if not compiled:
        return _softmax_backward
    fused = torch.compile(_softmax_backward, dynamic=True)
    row = _sample(torch.float32)[..., :1]
    fused(_sample(kind), row.clone(), _sample(kind), row.clone(), 0.125)
    return fused


def _sample(kind: torch.dtype) -> Float[Tensor, "BK G T S"]:
    """Scores of one fixed shape to compile on first, so that the code made never depends on which
    row came first: a resumed run must compute bitwise what the undisturbed one did."""
    return torch.zeros(6, 3, 40, 40, dtype=kind)
