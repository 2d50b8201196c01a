"""Attention of several new tokens a row at once, over the keys kept and those before them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from tutelage.kernels.attend import attend_own, available
from tutelage.nn.attend import Rule, Scan, mask_of, rectangle
from tutelage.nn.cache import STEP, Cache, DecodeStep, Memory


class AheadStep(DecodeStep):
    """Attend for new tokens, the i-th in slot `slots[i]` with `ahead[i]` new ones of its row before
    it. Their keys are written; `cache.lengths` is left to who decides which of them count.

    What a scan remembers cannot be taken back, so models with one are not read ahead.
    """

    def __init__(self, cache: Cache, slots: Int[Tensor, "M"], ahead: Int[Tensor, "M"]) -> None:
        self.cache, self.slots = cache, slots
        self.places = cache.lengths[slots] + ahead
        self.seen = self.places + 1
        self.span = min(math.ceil(int(self.seen.max()) / STEP) * STEP, cache.room)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self.slots, :, self.places] = k
        values[self.slots, :, self.places] = v
        keys, values = keys.index_select(0, self.slots), values.index_select(0, self.slots)
        if not rule.plain:
            own = self._ruled(q, keys, values, rule)
        elif available(q, keys):
            own = attend_own(q, keys, values, self.seen)
        else:
            own = self._own(q, keys, values, self.seen)
        return self._joined(layer, q, own, rule)

    def cross(self, layer: int, q: Tensor, memory: Memory, rule: Rule) -> Tensor:
        keys, values = (x.index_select(0, self.slots) for x in self.cache.memory[layer])
        seen = self.cache.sources[self.slots]
        longest = int(seen.max())
        places = torch.arange(longest, device=q.device)
        mask = mask_of(rule, places.new_zeros(1, 1), places, q.dtype, seen)
        return rectangle(
            q[:, None], keys[:, :longest], values[:, :longest], False, mask, rule.scale
        )[0][:, 0]

    def scan(self, layer: int, step: Scan, x: Tensor) -> Tensor:
        raise AssertionError("a model with a scan is not read ahead")
