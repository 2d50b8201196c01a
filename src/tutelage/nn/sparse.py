"""Sparse attention over long rows: products with those keys alone that are seen.

A pattern names the keys that a run of queries may see (`Sees.keys` of `nn/attend.py`); runs of
QUERIES are computed side by side, each with its own keys. Of the strided pattern such a run sees
every key, one query this and the next one that: its two parts, the keys close by and those at
whole strides, are each products of dense blocks instead.
Time and memory grow with T times the keys that a query sees, and not with T^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tutelage.nn.attend import Rule, attended, mask_of
from tutelage.nn.patterns import Strided

QUERIES = 128
"""Queries that share the keys they are computed with; rows of not more than twice as many are
attended to as a whole."""


def sparse(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B T K D"],
    v: Float[Tensor, "B T K D"],
    rule: Rule,
    lengths: Int[Tensor, "B"],
) -> Float[Tensor, "B T H D"]:
    """Rows padded on the right, under a rule with a pattern."""
    assert rule.sees is not None
    if isinstance(rule.sees, Strided) and rule.causal and rule.bias is None:
        return strided(q, k, v, rule.sees.stride, rule.scale)
    length = q.shape[1]
    keys = []
    for start in range(0, length, QUERIES):
        stop = min(start + QUERIES, length)
        keys.append(rule.sees.keys(start, stop, stop if rule.causal else length).to(q.device))
    # One run that sees far more than the others, as the first blocks of BigBird, goes alone.
    alike = max(map(len, keys)) * len(keys) <= 2 * sum(map(len, keys))
    runs = [keys] if alike else [[one] for one in keys]
    parts, first = [], 0
    for run in runs:
        parts.append(_side_by_side(q, k, v, rule, lengths, first, run))
        first += len(run) * QUERIES
    return torch.cat(parts, dim=1)[:, :length]


def _side_by_side(
    q: Tensor, k: Tensor, v: Tensor, rule: Rule, lengths: Tensor, first: int, keys: Sequence[Tensor]
) -> Tensor:
    """Runs of queries from place `first` on, each with its own keys: [B, runs x QUERIES, H, D]."""
    (rows, length), runs, widest = q.shape[:2], len(keys), max(map(len, keys))
    last = first + runs * QUERIES
    index = torch.stack([pad(one, (0, widest - len(one))) for one in keys])
    counts = torch.tensor([len(one) for one in keys], device=q.device)
    queries = pad(q[:, first:last], (0, 0, 0, 0, 0, max(last - length, 0)))
    queries = queries.reshape(rows * runs, QUERIES, *q.shape[2:])
    k, v = (
        x.index_select(1, index.flatten()).view(rows * runs, widest, *x.shape[2:]) for x in (k, v)
    )
    places = torch.arange(first, last, device=q.device).clamp(max=length - 1)
    places = places.view(runs, QUERIES).repeat(rows, 1)
    limit = None if rule.causal else lengths.repeat_interleave(runs)
    mask = mask_of(rule, places, index[:, None].repeat(rows, 1, 1), q.dtype, limit)
    beyond = torch.arange(widest, device=q.device) >= counts[:, None]
    mask = mask.masked_fill(beyond.repeat(rows, 1)[:, None, None], -math.inf)
    return attended(queries, k, v, rule, mask).view(rows, last - first, *q.shape[2:])


def strided(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B T K D"],
    v: Float[Tensor, "B T K D"],
    stride: int,
    scale: float | None = None,
) -> Float[Tensor, "B T H D"]:
    """Causal attention to the last `stride` keys and to every `stride`-th before them.

    A row stands as a grid of `stride` columns: a query sees the part of its own line up to itself
    and what is later in the line above, and in its column all lines above; softmax over both.
    The scores are T x (2 stride + T / stride) numbers a head.
    """
    length, heads = q.shape[1], q.shape[2]
    lines = -(-length // stride)
    fill = (0, 0, 0, 0, 0, lines * stride - length)
    grid = [pad(x, fill).unflatten(1, (lines, stride)) for x in (q, k, v)]
    q, k, v = (x.repeat_interleave(heads // x.shape[3], 3) for x in grid)
    near_k, near_v = (torch.cat((_line_above(x), x), 2) for x in (k, v))
    near = torch.einsum("blqhd,blshd->bhlqs", q, near_k)
    far = torch.einsum("blqhd,bmqhd->bhlqm", q, k)
    hidden = torch.cat((_not_near(lines, stride), _not_above(lines, stride)), -1).to(q.device)
    scores = torch.cat((near, far), -1).float() * (scale or 1 / math.sqrt(q.shape[-1]))
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1).to(v.dtype)
    near, far = weights.split((2 * stride, lines), -1)
    mixed = torch.einsum("bhlqs,blshd->blqhd", near, near_v)
    mixed = mixed + torch.einsum("bhlqm,bmqhd->blqhd", far, v)
    return mixed.flatten(1, 2)[:, :length]


def _line_above(x: Tensor) -> Tensor:
    """Zeros above the first."""
    return pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))


def _not_near(lines: int, stride: int) -> Tensor:
    """[L Q S], over the line above and the own: keys that are later, too far, or before the row."""
    back = torch.arange(stride)[:, None] - torch.arange(-stride, stride)
    before = (torch.arange(lines)[:, None, None] == 0) & (torch.arange(2 * stride) < stride)
    return (back < 0) | (back >= stride) | before


def _not_above(lines: int, stride: int) -> Tensor:
    """[L Q M], over the lines of a column."""
    line = torch.arange(lines)
    return (line >= line[:, None])[:, None].expand(-1, stride, -1)
