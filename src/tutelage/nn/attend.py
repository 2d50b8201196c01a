"""Softmax attention over rectangles of tokens, and the rule that says who sees whom.

    p = softmax(scale q k^T + bias, over the keys that are seen),   y = p v
    lse = log sum exp of the same scores

The log-sum-exp comes along so that attention to a shared prefix and to a row's own tokens can be
computed apart and joined.
Knows nothing of packing, caches or models; see `nn/packed.py` and `nn/cache.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Bias = Callable[[Int[Tensor, "B T S"]], Float[Tensor, "B H T S"]]
"""Added to the scores, from the distance (key's place minus query's)."""


class Sees(Protocol):
    """Which keys a query sees, beyond what causality hides (`nn/patterns.py`)."""

    def __call__(
        self, queries: Int[Tensor, "B T 1"], keys: Int[Tensor, "*B1 S"]
    ) -> Bool[Tensor, "B T S"]:
        """From the places of both in their row, the keys those of all rows or [B 1 S]."""
        ...

    def keys(self, start: int, stop: int, length: int) -> Int[Tensor, "S"]:
        """Places of all keys, of a row of `length`, that queries start .. stop - 1 may see."""
        ...


State = tuple[Tensor, ...]
"""What a scan remembers of each row, [B, ...] each."""

Scan = Callable[
    [Float[Tensor, "B T C"], Int[Tensor, "B"], State | None], tuple[Float[Tensor, "B T O"], State]
]
"""From rows padded on the right, their lengths and what is remembered of the tokens before them
(None: nothing stood there) to new vectors and what is remembered after each row's last token. No
token's vector may depend on later ones."""


@dataclass(frozen=True)
class Rule:
    """How one layer attends, whatever the tokens. `scale` None is 1 / sqrt(D)."""

    causal: bool = True
    scale: float | None = None
    sees: Sees | None = None
    bias: Bias | None = None

    @property
    def plain(self) -> bool:
        """Causal and nothing more: what the C++ library computes."""
        return self.causal and self.scale is None and self.sees is None and self.bias is None


class Attend(Protocol):
    """Which tokens share a row: called by the model once a layer with that layer's projections."""

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "N H D"],
        k: Float[Tensor, "N K D"],
        v: Float[Tensor, "N K D"],
        rule: Rule,
    ) -> Float[Tensor, "N H D"]: ...

    def cross(
        self,
        layer: int,
        q: Float[Tensor, "N H D"],
        memory: Callable[[], tuple[Float[Tensor, "M K D"], Float[Tensor, "M K D"]]],
        rule: Rule,
    ) -> Float[Tensor, "N H D"]:
        """Attention to another sequence's tokens, every row to its own; their keys and values are
        only asked for where they are not kept already."""
        ...

    def scan(self, layer: int, step: Scan, x: Float[Tensor, "N C"]) -> Float[Tensor, "N O"]:
        """Any causal function of rows, where a layer does not mix by softmax attention."""
        ...


def mask_of(
    rule: Rule,
    queries: Int[Tensor, "B T"],
    keys: Int[Tensor, "*B1 S"],
    dtype: torch.dtype,
    limit: Int[Tensor, "B"] | None = None,
    lead: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B H T S"]:
    """What is added to the scores: the rule's bias, and minus infinity where a key is not seen.

    `queries` and `keys` are places in the row, `keys` the same in all rows or each row's own.
    `limit` is each row's number of keys, for rules that are not causal; where a pattern hides keys
    too, a padded query sees itself, since a row of nothing but minus infinity has no softmax. The
    first `lead` tokens of a row are seen by all.
    """
    distance = keys - queries[..., None]
    seen = distance <= 0 if rule.causal else torch.ones_like(distance, dtype=torch.bool)
    if lead is not None:
        seen = seen | (keys < lead[:, None, None])
    if limit is not None:
        within = keys < limit[:, None, None]
        seen = seen & (within if rule.sees is None else within | (distance == 0))
    if rule.sees is not None:
        seen = seen & rule.sees(queries[..., None], keys)
    if rule.bias is not None:
        return rule.bias(distance).to(dtype).masked_fill(~seen[:, None], -math.inf)
    return torch.zeros((), dtype=dtype, device=keys.device).masked_fill(~seen[:, None], -math.inf)


def attended(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B S K D"],
    v: Float[Tensor, "B S K D"],
    rule: Rule,
    mask: Float[Tensor, "B H T S"] | None,
) -> Float[Tensor, "B T H D"]:
    """PyTorch's fused attention, with gradients; `mask` is added to the scores, and without one
    the rule's causality is all that hides keys."""
    mixed = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask,
        is_causal=rule.causal and mask is None, scale=rule.scale,
        enable_gqa=q.shape[2] != k.shape[2],
    )  # fmt: skip
    return mixed.transpose(1, 2)


def rectangle(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B S K D"],
    v: Float[Tensor, "B S K D"],
    causal: bool,
    mask: Float[Tensor, "B H T S"] | None = None,
    scale: float | None = None,
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """Attention of every row to its own keys. `causal` needs T == S and hides later keys; else
    `mask` is added to the scores. No gradient reaches the mask.

    On a CPU PyTorch's flash attention, which never keeps the scores; elsewhere they are in memory
    for the time of the call, because PyTorch's other kernels do not give the log-sum-exp.
    """
    compute = _flash if q.device.type == "cpu" else batched
    return compute(q, k, v, causal, mask, scale)


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
    mask: Float[Tensor, "B H T S"] | None = None,
    scale: float | None = None,
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """The same by two batched products with a softmax in float32 between them."""
    rows, queries, heads, width = q.shape
    keys, shared = k.shape[1], k.shape[2]
    # The G queries that share a key head stand one below the other: [BK GT D].
    folded = q.reshape(rows, queries, shared, -1, width).permute(0, 2, 3, 1, 4)
    folded = folded.reshape(rows * shared, -1, width)
    k, v = (x.transpose(1, 2).reshape(-1, keys, width) for x in (k, v))
    scores = torch.bmm(folded, k.transpose(1, 2)).float()
    scores = scores / math.sqrt(width) if scale is None else scores * scale
    scores = scores.view(rows, heads, queries, keys)
    if causal:
        later = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    if mask is not None:
        scores = scores + mask
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - lse[..., None]).to(v.dtype)
    mixed = torch.bmm(weights.view(rows * shared, -1, keys), v)
    return mixed.view(rows, heads, queries, width).transpose(1, 2), lse


def _flash(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    if mask is not None:
        mask = mask.expand(-1, mask.shape[1], -1, -1).to(q.dtype)
    mixed, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), 0.0, causal,
        attn_mask=mask, scale=scale,
    )  # fmt: skip
    return mixed.transpose(1, 2), lse
