"""How a model knows the order of tokens, besides rotation (`nn/rope.py`).

added to the vectors    Learned, Sinusoidal
added to the scores     Alibi, RelativeBias
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Learned(nn.Module):
    """Row `position + offset` of a table of the context's length."""

    def __init__(self, rows: int, width: int, offset: int = 0) -> None:
        super().__init__()
        self.role = "embed.position"
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, positions: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        return nn.functional.embedding(positions + self.offset, self.weight)


class Sinusoidal(nn.Module):
    """sin(m w_j) in even places, cos(m w_j) in odd ones, w_j = 10000^(-2j/C).

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, positions: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        exponents = torch.arange(0, self.width, 2, device=positions.device) / self.width
        turns = positions.float()[:, None] * torch.exp(-math.log(10_000.0) * exponents)
        return torch.stack([turns.sin(), turns.cos()], dim=-1).flatten(1)[:, : self.width]


class Alibi:
    """bias = -m_h |distance|, the slope m_h falling geometrically from head to head.

    Source: Press et al. 2022, arXiv:2108.12409, section 3; for a number of heads that is no power
    of two as in their code: the slopes of the power below, then every second of the power above.
    """

    def __init__(self, heads: int) -> None:
        below = 2 ** math.floor(math.log2(heads))
        self.slopes = _geometric(below) + _geometric(2 * below)[0::2][: heads - below]

    def __call__(self, distance: Int[Tensor, "B T S"]) -> Float[Tensor, "B H T S"]:
        slopes = torch.tensor(self.slopes, device=distance.device)[:, None, None]
        return -distance.abs().float()[:, None] * slopes


def _geometric(heads: int) -> list[float]:
    return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]


class RelativeBias(nn.Module):
    """A learned number for each head and bucket of distances.

    Half of the buckets are single distances, the other half grow logarithmically up to `furthest`;
    with `both` sides each takes half of the table, else later keys share bucket 0.
    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1, and its code.
    """

    def __init__(self, heads: int, buckets: int = 32, furthest: int = 128, both: bool = True):
        super().__init__()
        self.role = "embed.relative"
        self.furthest, self.both = furthest, both
        self.weight = nn.Parameter(torch.empty(buckets, heads))

    def forward(self, distance: Int[Tensor, "B T S"]) -> Float[Tensor, "B H T S"]:
        picked = nn.functional.embedding(self.bucket(distance), self.weight)
        return picked.permute(0, 3, 1, 2)

    def bucket(self, distance: Int[Tensor, "B T S"]) -> Int[Tensor, "B T S"]:
        """The row of the table for each distance (key's place minus query's)."""
        count = self.weight.shape[0]
        if self.both:
            count //= 2
            base, back = (distance > 0).long() * count, distance.abs()
        else:
            base, back = torch.zeros_like(distance), (-distance).clamp(min=0)
        exact = count // 2
        share = torch.log(back.clamp(min=1).float() / exact) / math.log(self.furthest / exact)
        far = (exact + (share * (count - exact)).long()).clamp(max=count - 1)
        return base + torch.where(back < exact, back, far)
