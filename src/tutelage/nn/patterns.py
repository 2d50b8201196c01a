"""Sparse attention: which keys a query may see, from the places of both.

Each is a `Sees` of `nn/attend.py`, used together with causality or without it. `keys` names, for a
run of queries, all keys that any of them may see: what attention over long rows gathers, so that
its time and memory grow with what is seen and not with the square of the row. How many pairs of a
token and a key that makes is counted without torch (`nn/pairs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tutelage.nn.pairs import BlockPairs, StridedPairs, WindowPairs


@dataclass(frozen=True)
class Window(WindowPairs):
    """Keys fewer than `size` places before the query, or after it.

    Source: Beltagy et al. 2020, arXiv:2004.05150, section 3.1; one-sided as in Jiang et al. 2023,
    arXiv:2310.06825, section 2 (Mistral: `size` keys, the query's own among them).
    """

    def __call__(
        self, queries: Int[Tensor, "B T 1"], keys: Int[Tensor, "*B1 S"]
    ) -> Bool[Tensor, "B T S"]:
        return (queries - keys).abs() < self.size

    def keys(self, start: int, stop: int, length: int) -> Int[Tensor, "S"]:
        return torch.arange(max(0, start - self.size + 1), min(length, stop + self.size - 1))


@dataclass(frozen=True)
class Strided(StridedPairs):
    """The last `stride` keys, and every `stride`-th key before them.

    Source: Child et al. 2019, arXiv:1904.10509, section 4.3 (strided attention; both sets of heads
    merged, as in its section 5.2).
    """

    def __call__(
        self, queries: Int[Tensor, "B T 1"], keys: Int[Tensor, "*B1 S"]
    ) -> Bool[Tensor, "B T S"]:
        back = (queries - keys).abs()
        return (back < self.stride) | (back % self.stride == 0)

    def keys(self, start: int, stop: int, length: int) -> Int[Tensor, "S"]:
        near = torch.zeros(length, dtype=torch.bool)
        near[max(0, start - self.stride + 1) : min(length, stop + self.stride - 1)] = True
        phases = torch.zeros(self.stride, dtype=torch.bool)
        phases[torch.arange(start, min(stop, start + self.stride)) % self.stride] = True
        return torch.where(near | phases[torch.arange(length) % self.stride])[0]


@dataclass(frozen=True)
class Blocks(BlockPairs):
    """Rows cut into blocks of `size`: a block sees itself, `near` blocks on either side, the first
    `everywhere` blocks, and `random` blocks drawn for it. The first blocks see all.

    Source: Zaheer et al. 2020, arXiv:2007.14062, section 2 (BigBird). The draw follows from the
    block's number and the seed, and is over the blocks before it, so that a causal row and one that
    is read in parts see the same.
    """

    def __call__(
        self, queries: Int[Tensor, "B T 1"], keys: Int[Tensor, "*B1 S"]
    ) -> Bool[Tensor, "B T S"]:
        mine, theirs = queries // self.size, keys // self.size
        seen = ((mine - theirs).abs() <= self.near) | (theirs < self.everywhere)
        seen = seen | (mine < self.everywhere)
        for draw in range(self.random):
            seen = seen | (theirs == self._drawn(mine, draw))
        return seen

    def keys(self, start: int, stop: int, length: int) -> Int[Tensor, "S"]:
        blocks = torch.arange(-(-length // self.size))
        queries = torch.arange(start // self.size, -(-stop // self.size))
        whole = Blocks(1, self.near, self.everywhere, self.random, self.seed)
        seen = whole(queries[None, :, None], blocks)[0].any(0)
        return torch.where(seen[torch.arange(length) // self.size])[0]

    def _drawn(self, block: Tensor, draw: int) -> Tensor:
        """A block before this one, by a hash of both numbers."""
        return self.hashed(block, draw) % block.clamp(min=1)
