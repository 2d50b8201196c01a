"""How much of a row each kind of attention sees, and what it keeps of one: arithmetic, no torch.

    full        T (T + 1) / 2 pairs of a token and a key, in a causal row of T tokens
    a pattern   those of them that `nn/patterns.py` shows
    clusters    of every round those in the token's bucket, with all buckets filled evenly
    segments    the token's own segment up to itself and the whole one before
    a sum       as much as D keys a token: products with a [D, D] matrix in each head

What is kept while a row is decoded are keys and values of all its tokens, or, where `state` says
so, as many bytes whatever the row's length. `low` is the size of a number that is computed with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

FLOAT, LONG = 4, 8
"""Bytes of what is kept in float32, and of a count."""


class Pairs(Protocol):
    """What of one layer arithmetic needs."""

    def pairs(self, length: int) -> int:
        """Of a token and a key that it sees, in a causal row."""
        ...

    def state(self, low: int) -> int:
        """Bytes that are remembered of a row in place of keys and values; 0: those are kept."""
        ...


def up_to(length: int, most: int) -> int:
    """Sum of min(t + 1, most) over t < length: everything before a token, at most so much."""
    short = min(length, most)
    return short * (short + 1) // 2 + (length - short) * most


@dataclass(frozen=True)
class WindowPairs:
    """The last `size` keys."""

    size: int

    def pairs(self, length: int) -> int:
        return up_to(length, self.size)

    def state(self, low: int) -> int:
        return 0


@dataclass(frozen=True)
class StridedPairs:
    """The last `stride` keys, and every `stride`-th key before them."""

    stride: int

    def pairs(self, length: int) -> int:
        lines, rest = divmod(length, self.stride)
        far = self.stride * lines * (lines - 1) // 2 + rest * lines  # sum of t div stride
        return up_to(length, self.stride) + far

    def state(self, low: int) -> int:
        return 0


@dataclass(frozen=True)
class BlockPairs:
    """Rows in blocks of `size`: a block sees itself, `near` blocks on either side, the first
    `everywhere` blocks, and `random` blocks drawn for it. The first blocks see all."""

    size: int
    near: int = 1
    everywhere: int = 1
    random: int = 1
    seed: int = 0

    def pairs(self, length: int) -> int:
        found = 0
        for block in range(-(-length // self.size)):
            queries = min(self.size, length - block * self.size)
            found += queries * (queries + 1) // 2 + queries * self.size * len(self._before(block))
        return found

    def state(self, low: int) -> int:
        return 0

    def hashed(self, block: Any, draw: int) -> Any:
        """Of a block's number, or a tensor of them, before it is brought below that number
        (Knuth's multiplicative)."""
        return (block * 2654435761 + (draw + 1) * 40503 + self.seed * 97) % 2**32 // 65536

    def _before(self, block: int) -> set[int]:
        """Earlier blocks that one sees."""
        if block < self.everywhere:
            return set(range(block))
        first = range(min(self.everywhere, block))
        drawn = (self.hashed(block, draw) % max(block, 1) for draw in range(self.random))
        return {*first, *range(max(0, block - self.near), block), *drawn} - {block}


@dataclass(frozen=True)
class SegmentPairs:
    """The own segment and the one before, `width` wide; of both the inputs are kept."""

    segment: int
    width: int

    def pairs(self, length: int) -> int:
        segments = [min(self.segment, length - at) for at in range(0, length, self.segment)]
        own = sum(tokens * (tokens + 1) // 2 for tokens in segments)
        return own + self.segment * sum(segments[1:])

    def state(self, low: int) -> int:
        return 2 * self.segment * self.width * low + LONG


@dataclass(frozen=True)
class ClusterPairs:
    """In each of `rounds` the last `most` tokens of a bucket; of every bucket they are kept."""

    buckets: int
    most: int
    rounds: int
    width: int
    heads: int

    def pairs(self, length: int) -> int:
        lines, rest = divmod(length, self.buckets)
        return self.rounds * (
            self.buckets * up_to(lines, self.most) + rest * min(lines + 1, self.most)
        )

    def state(self, low: int) -> int:
        slots = self.rounds * self.buckets
        return slots * (2 * self.most * self.width * low + self.heads * LONG)


@dataclass(frozen=True)
class SumPairs:
    """A sum over all tokens before, [D, D] in each of `heads`, and one of their keys."""

    heads: int
    head_width: int

    def pairs(self, length: int) -> int:
        return length * self.head_width

    def state(self, low: int) -> int:
        return self.heads * (self.head_width + 1) * self.head_width * FLOAT


@dataclass(frozen=True)
class StepPairs:
    """No pairs: two vectors that every token changes."""

    width: int

    def pairs(self, length: int) -> int:
        return 0

    def state(self, low: int) -> int:
        return 2 * self.width * low
