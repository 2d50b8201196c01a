"""How prompts are read into a cache and answers decoded from it: two Attends.

The model does not know of caches: it calls an Attend once a layer, which writes the new tokens'
keys and values and attends over all that the row sees.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels import packed as kernel
from tutelage.kernels.attend import attend_own, available
from tutelage.kernels.library import computes
from tutelage.nn.attend import Rule, Scan, Sees, join, mask_of, rectangle
from tutelage.nn.cache import STEP, Cache, Memory
from tutelage.nn.packed import Layout, PackedAttention


class ReadPrompts:
    """Attend for packed rows, each written to its slot behind the first `before` tokens that its
    slot already has: the same tokens in all of them, in the same blocks.

    `slot` and `place` say where each packed token goes; `slots` are the rows' slots, `sources` the
    lengths of the encoder's tokens for each, where there is an encoder.
    """

    def __init__(
        self, cache: Cache, layout: Layout, slot: Int[Tensor, "N"], place: Int[Tensor, "N"],
        slots: Int[Tensor, "B"] | None = None, sources: Int[Tensor, "B"] | None = None,
        before: int = 0,
    ) -> None:  # fmt: skip
        self.cache, self.layout = cache, layout
        self.slots, self.sources, self.before = slots, sources, before
        self.places = place + before
        self.block, self.offset = cache.places(slot, self.places)
        self.runs = layout.runs.seeing(before)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        self.cache.write(layer, self.block, self.offset, k, v)
        if rule.plain and not self.layout.led and computes(q):
            return kernel.forward(q, k, v, self.runs, self._before(layer))[0]
        return self._joined(q, self._own(q, k, v, rule), self._before(layer), rule)

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        assert self.slots is not None and self.sources is not None
        k, v = memory()
        self.cache.remember(layer, k, v, self.slots, self.sources)
        return PackedAttention(self.layout).cross(layer, q, lambda: (k, v), rule)

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        assert self.slots is not None and not self.before, "rows with a scan are read whole"
        parts = []
        for bucket in self.layout.buckets:
            grouped = x.index_select(0, bucket.index).view(bucket.rows, bucket.length, -1)
            y, state = step(grouped, bucket.lengths, None)
            self.cache.keep_state(layer, state, self.slots[bucket.members])
            parts.append(y.flatten(0, 1))
        return torch.cat(parts).index_select(0, self.layout.back)

    def _before(self, layer: int) -> tuple[Float[Tensor, "P K D"], Float[Tensor, "P K D"]] | None:
        """Keys and values of what all rows have already."""
        if not self.before:
            return None
        assert self.slots is not None
        keys, values = self.cache.gathered(layer, self.slots[:1], self.before)
        return keys[0].transpose(0, 1).contiguous(), values[0].transpose(0, 1).contiguous()

    def _own(self, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
        mixed, sums = [], []
        for bucket in self.layout.buckets:
            shape = (bucket.rows, bucket.length)
            rows = [x.index_select(0, bucket.index).view(*shape, *x.shape[1:]) for x in (q, k, v)]
            places = torch.arange(bucket.length, device=q.device) + self.before
            y, lse = _rectangle(rows[0], rows[1], rows[2], rule, places[None], places, bucket.lead)
            mixed.append(y.reshape(-1, *q.shape[1:]))
            sums.append(lse.transpose(1, 2).reshape(-1, q.shape[1]))
        back = self.layout.back
        return torch.cat(mixed).index_select(0, back), torch.cat(sums).index_select(0, back)

    def _joined(
        self, q: Tensor, own: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor] | None,
        rule: Rule,
    ) -> Float[Tensor, "N H D"]:  # fmt: skip
        """Attention over own tokens joined with that over what stands before them, one rectangle
        for all rows."""
        if before is None:
            return own[0]
        mask = None
        if rule.sees is not None or rule.bias is not None:
            seen = torch.arange(self.before, device=q.device)
            mask = mask_of(rule, self.places[None], seen, q.dtype)
        key, value = before
        mixed, lse = rectangle(q[None], key[None], value[None], False, mask, rule.scale)
        mixed, lse = mixed[0], lse[0].transpose(0, 1)
        if mask is not None and rule.sees is not None:
            # Where no key is seen there is no softmax; kernels differ in what they give for that.
            blind = mask[0].isneginf().all(-1).transpose(0, 1)
            mixed = mixed.masked_fill(blind[..., None], 0)
            lse = lse.masked_fill(blind, -math.inf)
        return join(own, (mixed, lse))


class DecodeStep:
    """Attend for new tokens, the i-th in slot `slots[i]` (by default one in each slot) with
    `ahead[i]` new ones of its row before it. Their keys are written; `cache.lengths` is left to who
    decides which of them count.

    What a scan remembers cannot be taken back, so models with one are not read ahead.
    """

    def __init__(
        self, cache: Cache, slots: Int[Tensor, "M"] | None = None,
        ahead: Int[Tensor, "M"] | None = None,
    ) -> None:  # fmt: skip
        if slots is None:
            slots = torch.arange(cache.slots, device=cache.lengths.device)
        self.cache, self.slots, self.ahead = cache, slots, ahead
        self.places = cache.lengths[slots] + (0 if ahead is None else ahead)
        """Where each new token stands in its row."""
        self.seen = self.places + 1
        self.table = cache.table[slots]
        self.block, self.offset = cache.places(slots, self.places)
        self.span = min(math.ceil(int(self.seen.max()) / STEP) * STEP, cache.room)
        self.patterns: dict[Sees, Int[Tensor, "M S"]] = {}
        """What each pattern lets the new tokens see: the same in all layers that have it."""
        self.masks: dict[Rule, Tensor] = {}
        """What each rule adds to the scores of those keys, likewise."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        self.cache.write(layer, self.block, self.offset, k, v)
        kept = self.cache.of_layer(layer)
        if rule.plain and available(q, kept.keys):
            return attend_own(q, *kept[:2], self.table, self.seen, kept[2:])
        if rule.sees is not None and self._shown(rule.sees).shape[1] < self.span:
            return self._patterned(layer, q, rule, self._shown(rule.sees))
        keys, values = self.cache.gathered(layer, self.slots, self.span)
        return self._plain(q, keys, values) if rule.plain else self._ruled(q, keys, values, rule)

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        keys, values = (x.index_select(0, self.slots) for x in self.cache.memory[layer])
        # A slot that no row has taken yet sees one zero: with no key at all there is no softmax.
        seen = self.cache.sources[self.slots].clamp(min=1)
        longest = int(seen.max())
        places = torch.arange(longest, device=q.device)
        mask = mask_of(rule, places.new_zeros(1, 1), places, q.dtype, seen)
        return rectangle(
            q[:, None], keys[:, :longest], values[:, :longest], False, mask, rule.scale
        )[0][:, 0]

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        assert self.ahead is None, "a model with a scan is not read ahead"
        before = self.cache.state(layer, self.slots)
        y, after = step(x[:, None], torch.ones_like(self.seen), before)
        self.cache.keep_state(layer, after, self.slots)
        return y[:, 0]

    def _plain(
        self, q: Float[Tensor, "B H D"], keys: Tensor, values: Tensor
    ) -> Float[Tensor, "B H D"]:
        """The same as the kernel by two batched products."""
        rows, heads, width = q.shape
        shared, span = keys.shape[1], keys.shape[2]
        keys, values = (x.reshape(-1, span, width) for x in (keys, values))
        folded = q.reshape(rows * shared, -1, width)
        scores = torch.bmm(folded, keys.transpose(1, 2)).float() / math.sqrt(width)
        beyond = torch.arange(span, device=q.device) >= self.seen[:, None]
        scores = scores.view(rows, heads, span).masked_fill(beyond[:, None], -math.inf)
        weights = torch.softmax(scores, dim=-1).to(q.dtype)
        mixed = torch.bmm(weights.view(rows * shared, -1, span), values)
        return mixed.view(rows, heads, width)

    def _shown(self, sees: Sees) -> Int[Tensor, "M S"]:
        """Places of the keys that each new token may see, and behind them places later than it."""
        if sees not in self.patterns:
            own = [sees.keys(place, place + 1, place + 1) for place in self.places.tolist()]
            longest = math.ceil(max(len(keys) for keys in own) / STEP) * STEP
            shown = self.seen.cpu()[:, None].repeat(1, longest)
            for row, keys in zip(shown, own, strict=True):
                row[: len(keys)] = keys
            self.patterns[sees] = shown.to(self.places.device)
        return self.patterns[sees]

    def _patterned(
        self, layer: int, q: Float[Tensor, "M H D"], rule: Rule, shown: Int[Tensor, "M S"]
    ) -> Float[Tensor, "M H D"]:
        """Only what a pattern shows is read: its size says what a token costs, not the row's."""
        k, v = self.cache.picked(layer, self.slots, torch.minimum(shown, self.places[:, None]))
        if rule not in self.masks:
            self.masks[rule] = mask_of(rule, self.places[:, None], shown[:, None], q.dtype)
        return rectangle(q[:, None], k, v, False, self.masks[rule], rule.scale)[0][:, 0]

    def _ruled(
        self, q: Float[Tensor, "B H D"], keys: Tensor, values: Tensor, rule: Rule
    ) -> Float[Tensor, "B H D"]:
        """Under any causal rule: what lies beyond a row's length is later than its query."""
        places = torch.arange(keys.shape[2], device=q.device)
        k, v = (x.transpose(1, 2) for x in (keys, values))
        at = self.places[:, None]
        return _rectangle(q[:, None], k, v, rule, at, places, square=False)[0][:, 0]


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
