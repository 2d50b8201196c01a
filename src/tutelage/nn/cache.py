"""Keys and values kept while text is generated, and attention over them.

    prefix   tokens that all rows share, computed once, stored once: [P K D] a layer
    own      each row's further tokens, in slots of fixed room:      [slots S K D] a layer

Attention of a row is softmax over both parts together. The model does not know: it calls an Attend,
and the three here fill the prefix, read prompts, and decode one token a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels import packed as kernel
from tutelage.kernels.attend import attend_own, available
from tutelage.kernels.library import computes
from tutelage.kernels.packed import CHUNK, Pieces
from tutelage.nn.attend import Rule, Scan, State, join, mask_of, rectangle
from tutelage.nn.packed import Layout, PackedAttention

Memory = Callable[[], tuple[Tensor, Tensor]]
"""Gives the keys and values of the encoder's tokens."""

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
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}
        """Layer by layer the encoder's keys and values of each slot, [slots S K D]."""
        self.sources = torch.zeros(slots, dtype=torch.long, device=like.device)
        """How many tokens the encoder read for each slot."""
        self.states: dict[int, State] = {}
        """Layer by layer what a scan remembers of each slot, [slots ...]."""
        self.prefix_states: dict[int, State] = {}
        self.prefix_length = 0
        """Tokens of the shared prefix."""

    @property
    def slots(self) -> int:
        return self.keys.shape[1]

    @staticmethod
    def bytes_per_slot(
        layers: int, room: int, key_shape: tuple[int, int], item: int, source: int = 0
    ) -> int:
        """`source` tokens of an encoder are kept beside the row's own."""
        tokens = math.ceil(room / STEP) * STEP + source
        return 2 * layers * key_shape[0] * key_shape[1] * tokens * item

    def keep(self, slots: Int[Tensor, "M"]) -> None:
        """Drop all rows but these, in this order. No memory beyond a layer's is taken for it, and
        none is given back."""
        self.keys = _kept(self.keys, slots)
        self.values = _kept(self.values, slots)
        self.lengths = self.lengths.index_select(0, slots)
        self.sources = self.sources.index_select(0, slots)
        self.memory = {
            layer: (keys.index_select(0, slots), values.index_select(0, slots))
            for layer, (keys, values) in self.memory.items()
        }
        self.states = {
            layer: tuple(part.index_select(0, slots) for part in state)
            for layer, state in self.states.items()
        }

    def keep_state(self, layer: int, state: State, slots: Int[Tensor, "B"]) -> None:
        """Put what a scan remembers of some rows into their slots."""
        if layer not in self.states:
            self.states[layer] = tuple(x.new_zeros(self.slots, *x.shape[1:]) for x in state)
        for held, new in zip(self.states[layer], state, strict=True):
            held[slots] = new

    def remember(
        self,
        layer: int,
        k: Float[Tensor, "M K D"],
        v: Float[Tensor, "M K D"],
        slots: Int[Tensor, "B"],
        sources: Int[Tensor, "B"],
    ) -> None:
        """Keep the encoder's keys and values of packed rows, each in its slot."""
        longest = int(sources.max())
        held = self.memory.get(layer)
        if held is None or held[0].shape[1] < longest:
            grown = [k.new_zeros(self.slots, longest, *k.shape[1:]) for _ in range(2)]
            for new, old in zip(grown, held or (), strict=False):
                new[:, : old.shape[1]] = old
            self.memory[layer] = held = (grown[0], grown[1])
        slot = torch.repeat_interleave(slots, sources)
        starts = torch.cumsum(sources, 0) - sources
        place = torch.arange(len(k), device=k.device) - torch.repeat_interleave(starts, sources)
        held[0][slot, place], held[1][slot, place] = k, v
        self.sources[slots] = sources


def _kept(held: Float[Tensor, "L B K S D"], slots: Int[Tensor, "M"]) -> Float[Tensor, "L M K S D"]:
    """These rows of `held`, in its own memory where they are no more than it has: a copy of all
    layers would be there beside them, at the moment when answering holds most."""
    layers, before, *each = held.shape
    rows = len(slots)
    if rows > before:
        return held.index_select(1, slots)
    size = rows * math.prod(each)
    flat = held.view(-1)[: layers * size]
    for layer in range(layers):  # ends where this layer began, or before
        kept = held[layer].index_select(0, slots)
        flat[layer * size : (layer + 1) * size] = kept.view(-1)
    return flat.view(layers, rows, *each)


class FillPrefix:
    """Attend for one row of tokens whose keys become the shared prefix."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        cache.prefix, cache.prefix_states = [], {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        k, v = k.contiguous(), v.contiguous()  # a fused projection hands out strided views
        self.cache.prefix.append((k, v))
        self.cache.prefix_length = len(q)
        if rule.plain and computes(q):
            return kernel.forward(q, k, v, Pieces.of([(0, len(q))], 0, CHUNK))[0]
        places = torch.arange(len(q), device=q.device)
        return _rectangle(q[None], k[None], v[None], rule, places[None], places)[0][0]

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        raise AssertionError("rows with an encoder's tokens share no prefix")

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        y, state = step(x[None], torch.tensor([len(x)], device=x.device), None)
        self.cache.prefix_states[layer] = state
        self.cache.prefix_length = len(x)
        return y[0]


class ReadPrompts:
    """Attend for packed prompts (without their shared prefix), each row written to its slot.

    `slot` and `place` say where each packed token goes; `slots` are the rows' slots, `sources` the
    lengths of the encoder's tokens for each, where there is an encoder.
    """

    def __init__(
        self, cache: Cache, layout: Layout, slot: Int[Tensor, "N"], place: Int[Tensor, "N"],
        slots: Int[Tensor, "B"] | None = None, sources: Int[Tensor, "B"] | None = None,
    ) -> None:  # fmt: skip
        self.cache, self.layout, self.slot, self.place = cache, layout, slot, place
        self.slots, self.sources = slots, sources
        self.runs = layout.runs.seeing(cache.prefix_length)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        self.cache.keys[layer][self.slot, :, self.place] = k
        self.cache.values[layer][self.slot, :, self.place] = v
        if rule.plain and not self.layout.led and computes(q):
            prefix = self.cache.prefix[layer] if self.cache.prefix else None
            return kernel.forward(q, k, v, self.runs, prefix)[0]
        places = self.place + self.cache.prefix_length
        return _with_prefix(self.cache, layer, q, self._own(q, k, v, rule), rule, places)

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        assert self.slots is not None and self.sources is not None
        k, v = memory()
        self.cache.remember(layer, k, v, self.slots, self.sources)
        return PackedAttention(self.layout).cross(layer, q, lambda: (k, v), rule)

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        assert self.slots is not None
        parts, before = [], self.cache.prefix_states.get(layer)
        for bucket in self.layout.buckets:
            grouped = x.index_select(0, bucket.index).view(bucket.rows, bucket.length, -1)
            if before is not None:
                before = tuple(part[:1].expand(bucket.rows, *part.shape[1:]) for part in before)
            y, state = step(grouped, bucket.lengths, before)
            self.cache.keep_state(layer, state, self.slots[bucket.members])
            parts.append(y.flatten(0, 1))
        return torch.cat(parts).index_select(0, self.layout.back)

    def _own(self, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
        mixed, sums = [], []
        for bucket in self.layout.buckets:
            shape = (bucket.rows, bucket.length)
            rows = [x.index_select(0, bucket.index).view(*shape, *x.shape[1:]) for x in (q, k, v)]
            places = torch.arange(bucket.length, device=q.device) + self.cache.prefix_length
            y, lse = _rectangle(rows[0], rows[1], rows[2], rule, places[None], places, bucket.lead)
            mixed.append(y.reshape(-1, *q.shape[1:]))
            sums.append(lse.transpose(1, 2).reshape(-1, q.shape[1]))
        back = self.layout.back
        return torch.cat(mixed).index_select(0, back), torch.cat(sums).index_select(0, back)


class DecodeStep:
    """Attend for one new token in every slot: written at the row's length, then all are read."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.rows = torch.arange(cache.slots, device=cache.lengths.device)
        self.places = cache.lengths
        """Where each new token stands among its row's own."""
        self.seen = cache.lengths + 1
        longest = int(self.seen.max())
        self.span = min(math.ceil(longest / STEP) * STEP, cache.room)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        cache = self.cache
        keys, values = cache.keys[layer], cache.values[layer]
        keys[self.rows, :, cache.lengths] = k
        values[self.rows, :, cache.lengths] = v
        if not rule.plain:
            own = self._ruled(q, keys, values, rule)
        elif available(q, keys):
            own = attend_own(q, keys, values, self.seen)
        else:
            own = self._own(q, keys, values, self.seen)
        return self._joined(layer, q, own, rule)

    def _joined(self, layer: int, q: Tensor, own: tuple[Tensor, Tensor], rule: Rule) -> Tensor:
        places = self.places + self.cache.prefix_length
        return _with_prefix(self.cache, layer, q, own, rule, places)

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        cache = self.cache
        keys, values = cache.memory[layer]
        longest = int(cache.sources.max())
        places = torch.arange(longest, device=q.device)
        # A slot that no row has taken yet sees one zero: with no key at all there is no softmax.
        seen = cache.sources.clamp(min=1)
        mask = mask_of(rule, places.new_zeros(1, 1), places, q.dtype, seen)
        return rectangle(
            q[:, None], keys[:, :longest], values[:, :longest], False, mask, rule.scale
        )[0][:, 0]

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        y, self.cache.states[layer] = step(
            x[:, None], torch.ones_like(self.seen), self.cache.states[layer]
        )
        return y[:, 0]

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

    def _ruled(
        self, q: Tensor, keys: Tensor, values: Tensor, rule: Rule
    ) -> tuple[Float[Tensor, "B H D"], Float[Tensor, "B H"]]:
        """Under any causal rule: what lies beyond a row's length is later than its query."""
        before = self.cache.prefix_length
        places = torch.arange(self.span, device=q.device) + before
        k, v = (x[:, :, : self.span].transpose(1, 2) for x in (keys, values))
        at = (self.places + before)[:, None]
        mixed, lse = _rectangle(q[:, None], k, v, rule, at, places, square=False)
        return mixed[:, 0], lse[:, :, 0]


def _rectangle(
    q: Float[Tensor, "B T H D"],
    k: Float[Tensor, "B S K D"],
    v: Float[Tensor, "B S K D"],
    rule: Rule,
    queries: Int[Tensor, "B T"],
    keys: Int[Tensor, "S"],
    lead: Int[Tensor, "B"] | None = None,
    square: bool = True,
) -> tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H T"]]:
    """Attention under a causal rule; `square` where queries and keys are the same tokens. The first
    `lead` tokens of each row are seen by all of it."""
    if square and rule.sees is None and rule.bias is None and lead is None:
        return rectangle(q, k, v, causal=True, scale=rule.scale)
    mask = mask_of(rule, queries, keys, q.dtype, lead=lead)
    return rectangle(q, k, v, False, mask, rule.scale)


def _with_prefix(
    cache: Cache,
    layer: int,
    q: Float[Tensor, "N H D"],
    own: tuple[Tensor, Tensor],
    rule: Rule,
    places: Int[Tensor, "N"],
) -> Float[Tensor, "N H D"]:
    """Join attention over own tokens with attention over the prefix, one rectangle for all rows."""
    if not cache.prefix:
        return own[0]
    key, value = cache.prefix[layer]
    mask = None
    if rule.sees is not None or rule.bias is not None:
        seen = torch.arange(len(key), device=q.device)
        mask = mask_of(rule, places[None], seen, q.dtype)
    mixed, lse = rectangle(q[None], key[None], value[None], False, mask, rule.scale)
    mixed, lse = mixed[0], lse[0].transpose(0, 1)
    if mask is not None and rule.sees is not None:
        # Where no key of the prefix is seen there is no softmax over it; kernels differ in what
        # they give for that.
        blind = mask[0].isneginf().all(-1).transpose(0, 1)
        mixed = mixed.masked_fill(blind[..., None], 0)
        lse = lse.masked_fill(blind, -math.inf)
    return join(own, (mixed, lse))
