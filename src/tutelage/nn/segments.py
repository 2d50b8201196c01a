"""Attention with recurrence from segment to segment, and positions that are distances.

A row is cut into segments of `segment` tokens. A token sees its own segment up to itself and the
whole segment before, whose vectors get no gradient; so what is seen reaches back one segment a
layer, and training costs no more than a segment at a time.

    score_ij = ((q_i + u) k_j + (q_i + w) W_r R_{i-j}) / sqrt(D)

R is sinusoidal, u and w are learned for each head.
Source: Dai et al. 2019, arXiv:1901.02860, sections 3.2 and 3.3; u and w of every layer its own, as
in their code's option for it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.nn.attend import State
from tutelage.nn.attention import Attention, Heads, Pass
from tutelage.nn.linear import Linear
from tutelage.nn.positions import Sinusoidal


class SegmentAttention(Attention):
    """Self-attention over this segment and the last, H = K. Remembers the inputs of the last two
    segments, and how many tokens it has read."""

    scans = True

    def __init__(self, width: int, heads: Heads, segment: int) -> None:
        super().__init__(width, heads)
        self.segment = segment
        self.r = Linear(width, heads.query * heads.width, "attn.r")
        self.sinusoids = Sinusoidal(width)
        self.content_bias = nn.Parameter(torch.empty(heads.query, heads.width))
        self.position_bias = nn.Parameter(torch.empty(heads.query, heads.width))

    def mix(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N HD"]:
        return at.attend.scan(at.layer, self.step, x)

    def step(
        self, x: Float[Tensor, "B T C"], lengths: Int[Tensor, "B"], state: State | None
    ) -> tuple[Float[Tensor, "B T O"], State]:
        """A `Scan` of `nn/attend.py`."""
        held = 2 * self.segment
        if state is None:
            y = self._by_segments(x)
            before, read = x.new_zeros(len(x), held, x.shape[2]), torch.zeros_like(lengths)
        else:
            before, read = state
            y = self._after(x, before, read)
        kept = torch.cat([before, x.detach()], dim=1)
        last = lengths[:, None] + torch.arange(held, device=x.device)
        kept = kept.gather(1, last[..., None].expand(-1, -1, x.shape[2]))
        return y, (kept, read + lengths)

    def _by_segments(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T O"]:
        parts = []
        for start in range(0, x.shape[1], self.segment):
            first = max(0, start - self.segment)
            mine = x[:, start : start + self.segment]
            seen = torch.cat([x[:, first:start].detach(), mine], dim=1)
            queries = torch.arange(start, start + mine.shape[1], device=x.device)
            keys = torch.arange(first, start + mine.shape[1], device=x.device)
            parts.append(self._mixed(mine, seen, queries[None], keys[None]))
        return torch.cat(parts, dim=1)

    def _after(
        self, x: Float[Tensor, "B T C"], before: Float[Tensor, "B S C"], read: Int[Tensor, "B"]
    ) -> Float[Tensor, "B T O"]:
        queries = read[:, None] + torch.arange(x.shape[1], device=x.device)
        keys = read[:, None] + torch.arange(-before.shape[1], x.shape[1], device=x.device)
        return self._mixed(x, torch.cat([before.to(x.dtype), x], dim=1), queries, keys)

    def _mixed(
        self, x: Float[Tensor, "B T C"], seen: Float[Tensor, "B S C"],
        queries: Int[Tensor, "B T"], keys: Int[Tensor, "B S"],
    ) -> Float[Tensor, "B T O"]:  # fmt: skip
        heads = self.heads
        q = self.q(x).unflatten(-1, (heads.query, heads.width))
        k = self.k(seen).unflatten(-1, (heads.query, heads.width))
        v = self.v(seen).unflatten(-1, (heads.query, heads.width))
        content = torch.einsum("bthd,bshd->bhts", q + self.content_bias.to(q.dtype), k)
        # Keys are one place apart, so a distance is a place in the row of distances.
        most = x.shape[1] + seen.shape[1]
        place = torch.arange(most, device=x.device)
        r = self.r(self.sinusoids(place).to(x.dtype)).view(most, heads.query, heads.width)
        position = torch.einsum("bthd,mhd->bhtm", q + self.position_bias.to(q.dtype), r)
        distance = queries[..., None] - keys[:, None]
        index = distance.clamp(0, most - 1)[:, None].expand(-1, heads.query, -1, -1)
        position = position.gather(3, index.expand(len(x), -1, -1, -1))
        scores = (content + position).float() / math.sqrt(heads.width)
        first = queries // self.segment * self.segment - self.segment
        hidden = (distance < 0) | (keys[:, None] < first[..., None].clamp(min=0))
        shares = torch.softmax(scores.masked_fill(hidden[:, None], -math.inf), dim=-1)
        return torch.einsum("bhts,bshd->bthd", shares.to(v.dtype), v).flatten(2)
