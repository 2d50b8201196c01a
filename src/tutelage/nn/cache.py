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

from tutelage.nn.attend import fold_queries, join, rectangle, unfold_queries
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
        return rectangle(q[None], k[None], v[None], causal=True)[0][0]


class ReadPrompts:
    """Attend for packed prompts (without their shared prefix), each row written to its slot.

    `slot` and `place` say where each packed token goes.
    """

    def __init__(
        self, cache: Cache, layout: Layout, slot: Int[Tensor, "N"], place: Int[Tensor, "N"]
    ) -> None:
        self.cache, self.layout, self.slot, self.place = cache, layout, slot, place

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.keys[layer][self.slot, :, self.place] = k
        self.cache.values[layer][self.slot, :, self.place] = v
        own = self._own(q, k, v)
        if not self.cache.prefix:
            return own[0]
        key, value = self.cache.prefix[layer]
        mixed, lse = rectangle(q[None], key[None], value[None], causal=False)
        return join(own, (mixed[0], lse[0].transpose(0, 1)))

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
        longest = int(cache.lengths.max()) + 1
        self.span = min(math.ceil(longest / STEP) * STEP, cache.room)
        seen = torch.arange(self.span, device=cache.lengths.device) <= cache.lengths[:, None]
        self.hidden = torch.where(seen, 0.0, -math.inf)[:, None, None, :]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache = self.cache
        keys, values = cache.keys[layer], cache.values[layer]
        keys[self.rows, :, cache.lengths] = k
        values[self.rows, :, cache.lengths] = v
        rows, heads, width = q.shape
        shared = k.shape[1]
        folded = q.view(rows * shared, -1, width)
        own = torch.bmm(folded, _span(keys, self.span).transpose(1, 2))
        scores = own.view(rows, shared, -1, self.span).float() / math.sqrt(width) + self.hidden
        if not cache.prefix:
            weights = torch.softmax(scores, dim=-1).to(q.dtype)
            mixed = torch.bmm(weights.view(rows * shared, -1, self.span), _span(values, self.span))
            return mixed.view(rows, heads, width)
        return self._with_prefix(layer, q, scores, _span(values, self.span))

    def _with_prefix(
        self, layer: int, q: Float[Tensor, "B H D"], scores: Tensor, values: Tensor
    ) -> Float[Tensor, "B H D"]:
        """One softmax over both parts; the prefix's keys meet all rows in one matrix product."""
        key, value = self.cache.prefix[layer]
        rows, heads, width = q.shape
        shared, prefix = key.shape[1], key.shape[0]
        together = fold_queries(q[None], shared)  # [K, G B, D]
        first = torch.bmm(together, key.permute(1, 2, 0)).float() / math.sqrt(width)
        first = first.view(shared, -1, rows, prefix).permute(2, 0, 1, 3)
        weights = torch.softmax(torch.cat([first, scores], dim=-1), dim=-1).to(q.dtype)
        ahead, own = weights.split([prefix, scores.shape[-1]], dim=-1)
        mixed = torch.bmm(own.reshape(rows * shared, -1, scores.shape[-1]), values)
        ahead = ahead.permute(1, 2, 0, 3).reshape(shared, -1, prefix)
        before = unfold_queries(torch.bmm(ahead, value.transpose(0, 1)), 1, heads, rows)[0]
        return mixed.view(rows, heads, width) + before


def _span(x: Float[Tensor, "B K S D"], span: int) -> Float[Tensor, "BK span D"]:
    return x.view(-1, x.shape[2], x.shape[3])[:, :span]
