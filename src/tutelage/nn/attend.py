"""Softmax attention over rectangles of tokens.

    p = softmax(q k^T / sqrt(D) + mask),   y = p v,   lse = log sum exp of the masked scores

The log-sum-exp comes along so that attention to a shared prefix and to a row's own tokens can be
computed apart and joined.
Knows nothing of packing, caches or models; see `nn/packed.py` and `nn/cache.py`.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


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
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """Attention of every row to its own keys. `causal` needs T == S and hides later keys.

    On a CPU PyTorch's flash attention, which never keeps the scores; elsewhere they are in memory
    for the time of the call, because PyTorch's other kernels do not give the log-sum-exp.
    """
    return _flash(q, k, v, causal) if q.device.type == "cpu" else batched(q, k, v, causal)


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


def batched(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B S K D"],
    v: Float[Tensor, "B S K D"],
    causal: bool,
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """The same by two batched products with a softmax in float32 between them."""
    rows, queries, heads, width = q.shape
    keys, shared = k.shape[1], k.shape[2]
    # The G queries that share a key head stand one below the other: [BK GT D].
    folded = q.view(rows, queries, shared, -1, width).permute(0, 2, 3, 1, 4)
    folded = folded.reshape(rows * shared, -1, width)
    k, v = (x.transpose(1, 2).reshape(-1, keys, width) for x in (k, v))
    scores = torch.bmm(folded, k.transpose(1, 2)).float() / math.sqrt(width)
    scores = scores.view(rows, heads, queries, keys)
    if causal:
        later = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - lse[..., None]).to(v.dtype)
    mixed = torch.bmm(weights.view(rows * shared, -1, keys), v)
    return mixed.view(rows, heads, queries, width).transpose(1, 2), lse


def _flash(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    mixed, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), 0.0, causal
    )
    return mixed.transpose(1, 2), lse
