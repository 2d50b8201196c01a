"""Attention without softmax, in time that grows with the length alone.

    y_i = phi(q_i) S_i / phi(q_i) z_i
    S_i = sum_{j<=i} phi(k_j) v_j^T,   z_i = sum_{j<=i} phi(k_j)

with phi(x) = elu(x) + 1. A row is read in chunks: inside one the scores phi(q) phi(k)^T are made,
what came before is in S and z, which is all that is kept while text is generated.
Source: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 8 to 12.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.nn.attend import State
from tutelage.nn.attention import Attention, Pass

CHUNK = 64


class LinearAttention(Attention):
    """The projections of self-attention around a running sum, H = K. Remembers (S, z) of a row."""

    scans = True

    def mix(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N HD"]:
        q, k, v = self.project(x)
        whole = torch.cat([q, k, v], dim=1).flatten(1)
        return at.attend.scan(at.layer, self.step, whole)

    def step(
        self, x: Float[Tensor, "B T C"], lengths: Int[Tensor, "B"], state: State | None
    ) -> tuple[Float[Tensor, "B T O"], State]:
        """A `Scan` of `nn/attend.py` over queries, keys and values side by side."""
        heads = self.heads
        q, k, v = x.unflatten(-1, (3, heads.query, heads.width)).float().unbind(2)
        q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        k = k * real[..., None, None]  # padding adds nothing to the sums
        sums = state or (
            x.new_zeros(len(x), heads.query, heads.width, heads.width, dtype=torch.float32),
            x.new_zeros(len(x), heads.query, heads.width, dtype=torch.float32),
        )
        parts = []
        for start in range(0, x.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            y, sums = _chunk(q[:, part], k[:, part], v[:, part], sums[0], sums[1])
            parts.append(y)
        return torch.cat(parts, dim=1).flatten(2).to(x.dtype), sums


def _chunk(
    q: Float[Tensor, "B T H D"], k: Float[Tensor, "B T H D"], v: Float[Tensor, "B T H D"],
    total: Float[Tensor, "B H D D"], norm: Float[Tensor, "B H D"],
) -> tuple[Float[Tensor, "B T H D"], tuple[Tensor, Tensor]]:  # fmt: skip
    scores = torch.einsum("bthd,bshd->bhts", q, k).tril()
    above = torch.einsum("bhts,bshd->bthd", scores, v) + torch.einsum("bthd,bhde->bthe", q, total)
    below = scores.sum(-1).transpose(1, 2) + torch.einsum("bthd,bhd->bth", q, norm)
    total = total + torch.einsum("bthd,bthe->bhde", k, v)
    return above / below[..., None], (total, norm + k.sum(1))
