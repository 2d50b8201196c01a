"""Keys and values kept while text is generated, and attention over them.

    prefix   tokens that all rows share, computed once, stored once: [P K D] a layer
    own      each row's further tokens, in slots of fixed room:      [slots S K D] a layer

Attention of a row is softmax over both parts together. The model does not know: it calls an Attend,
and the three here fill the prefix, read prompts, and decode one token a row.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels import packed as kernel
from tutelage.kernels.attend import attend_own, available
from tutelage.kernels.library import computes
from tutelage.kernels.packed import CHUNK, Pieces
from tutelage.nn.attend import join, rectangle
from tutelage.nn.packed import Layout

STEP = 32
"""Keys are read in multiples of this many slots: each new matrix shape costs a set-up."""


class Cache:
    """Room for `slots` rows of at most `room` own tokens, after a shared prefix."""

    def __init__(
        self, layers: int, slots: int, room: int, key_shape: tuple[int, int], like: Tensor
    ) -> None:
        self.layers = layers
        self.room = math.ceil(room / STEP) * STEP
        shape = (layers, slots, key_shape[0], self.room, key_shape[1])
        self.keys = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.values = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.lengths = torch.zeros(slots, dtype=torch.long, device=like.device)
        self.prefix: list[tuple[Tensor, Tensor]] = []

    @property
    def slots(self) -> int:
        return self.keys.shape[1]

    @property
    def prefix_length(self) -> int:
        return self.prefix[0][0].shape[0] if self.prefix else 0

    @staticmethod
    def bytes_per_slot(layers: int, room: int, key_shape: tuple[int, int], item: int) -> int:
        return 2 * layers * key_shape[0] * key_shape[1] * math.ceil(room / STEP) * STEP * item

    def keep(self, slots: Int[Tensor, "M"]) -> None:
        """Drop all rows but these, in this order."""
        self.keys = self.keys.index_select(1, slots)
        self.values = self.values.index_select(1, slots)
        self.lengths = self.lengths.index_select(0, slots)


class FillPrefix:
    """Attend for one row of tokens whose keys become the shared prefix."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        cache.prefix = []

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.prefix.append((k, v))
        if computes(q):
            return kernel.forward(q, k, v, Pieces.of([(0, len(q))], 0, CHUNK))[0]
        return rectangle(q[None], k[None], v[None], causal=True)[0][0]


class ReadPrompts:
    """Attend for packed prompts (without their shared prefix), each row written to its slot.

    `slot` and `place` say where each packed token goes.
    """

    def __init__(
        self, cache: Cache, layout: Layout, slot: Int[Tensor, "N"], place: Int[Tensor, "N"]
    ) -> None:
        self.cache, self.layout, self.slot, self.place = cache, layout, slot, place
        self.runs = layout.runs.seeing(cache.prefix_length)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.keys[layer][self.slot, :, self.place] = k
        self.cache.values[layer][self.slot, :, self.place] = v
        if computes(q):
            prefix = self.cache.prefix[layer] if self.cache.prefix else None
            return kernel.forward(q, k, v, self.runs, prefix)[0]
        return _with_prefix(self.cache, layer, q, self._own(q, k, v))

    def _own(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        mixed, sums = [], []
        for bucket in self.layout.buckets:
            shape = (bucket.rows, bucket.length)
            rows = [x.index_select(0, bucket.index).view(*shape, *x.shape[1:]) for x in (q, k, v)]
            y, lse = rectangle(rows[0], rows[1], rows[2], causal=True)
            mixed.append(y.reshape(-1, *q.shape[1:]))
            sums.append(lse.transpose(1, 2).reshape(-1, q.shape[1]))
        back = self.layout.back
        return torch.cat(mixed).index_select(0, back), torch.cat(sums).index_select(0, back)


class DecodeStep:
    """Attend for one new token in every slot: written at the row's length, then all are read."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.rows = torch.arange(cache.slots, device=cache.lengths.device)
        self.seen = cache.lengths + 1
        longest = int(self.seen.max())
        self.span = min(math.ceil(longest / STEP) * STEP, cache.room)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache = self.cache
        keys, values = cache.keys[layer], cache.values[layer]
        keys[self.rows, :, cache.lengths] = k
        values[self.rows, :, cache.lengths] = v
        read = attend_own if available(q, keys) else self._own
        own = read(q, keys, values, self.seen)
        return _with_prefix(cache, layer, q, own)

    def _own(
        self, q: Tensor, keys: Tensor, values: Tensor, seen: Tensor
    ) -> tuple[Float[Tensor, "B H D"], Float[Tensor, "B H"]]:
        """The same as the kernel by two batched products."""
        rows, heads, width = q.shape
        shared, span = keys.shape[1], self.span
        keys, values = (x.view(-1, *x.shape[2:])[:, :span] for x in (keys, values))
        folded = q.reshape(rows * shared, -1, width)
        scores = torch.bmm(folded, keys.transpose(1, 2)).float() / math.sqrt(width)
        beyond = torch.arange(span, device=q.device) >= seen[:, None]
        scores = scores.view(rows, heads, span).masked_fill(beyond[:, None], -math.inf)
        lse = torch.logsumexp(scores, dim=-1)
        weights = torch.exp(scores - lse[..., None]).to(q.dtype)
        mixed = torch.bmm(weights.view(rows * shared, -1, span), values)
        return mixed.view(rows, heads, width), lse


def _with_prefix(
    cache: Cache, layer: int, q: Float[Tensor, "N H D"], own: tuple[Tensor, Tensor]
) -> Float[Tensor, "N H D"]:
    """Join attention over own tokens with attention over the prefix, one rectangle for all rows."""
    if not cache.prefix:
        return own[0]
    key, value = cache.prefix[layer]
    mixed, lse = rectangle(q[None], key[None], value[None], causal=False)
    return join(own, (mixed[0], lse[0].transpose(0, 1)))
