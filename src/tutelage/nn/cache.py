"""Keys and values kept while text is generated, in blocks that rows can share.

    keys, values   [layers N K S D]   N blocks of S tokens each
    table          [slots M]          the blocks in which each row's tokens stand, in order
    lengths        [slots]            how many tokens each row has

A row's token t stands in place t mod S of block table[row, t div S]. Who holds which block is not
known here: a plain cache gives every row one block as long as its room, and an engine fills the
table of a paged one (`generate/blocks.py`). The kernels walk the table; where PyTorch computes
attention, the blocks are copied into one piece for the time of a layer.

In 8 bits a token's key in one head is whole numbers -127 .. 127 times a float32 scale of its own,
max |k| / 127, and a value likewise:

    key_scales, value_scales   [layers N K S]

Keys are narrowed after their rotation, and whoever reads them reads what they were narrowed to, the
token's own key too. What an encoder is remembered by stays wide.
Sources: blocks, Kwon et al. 2023, arXiv:2309.06180, section 4.1; a scale for each token, Sheng et
al. 2023, arXiv:2303.06865 (FlexGen), section 5, who group by 64 numbers and take 4 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from tutelage.nn.attend import State

Memory = Callable[[], tuple[Tensor, Tensor]]
"""Gives the keys and values of the encoder's tokens."""

STEP = 32
"""Keys are read in multiples of this many places: each new matrix shape costs a set-up. Also the
tokens of a block."""
LARGEST = 127
SCALE_BYTES = 4
"""Of a key in 8 bits: the number that its largest becomes, and its scale."""


class Kept(NamedTuple):
    """Keys and values of one layer, [N K S D]; their scales, [N K S], where they are in 8 bits."""

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None = None
    value_scales: Tensor | None = None


class Cache:
    """Room for `slots` rows of at most `room` tokens each; with `blocks` in so many blocks of STEP
    tokens for all rows, whose table is the caller's to fill; `narrow` in 8 bits."""

    def __init__(
        self, layers: int, slots: int, room: int, key_shape: tuple[int, int], like: Tensor,
        blocks: int | None = None, narrow: bool = False,
    ) -> None:  # fmt: skip
        self.layers = layers
        most = math.ceil(room / STEP)
        self.room = most * STEP
        self.paged = blocks is not None
        self.size = self.room if blocks is None else STEP
        """Tokens of a block."""
        count = slots if blocks is None else blocks
        shape = (layers, count, key_shape[0], self.size, key_shape[1])
        kind = like.new_empty(0, dtype=torch.int8) if narrow else like
        self.keys, self.values = _zeros(shape, kind), _zeros(shape, kind)
        scales = like.new_empty(0, dtype=torch.float32)
        self.key_scales = _zeros(shape[:-1], scales) if narrow else None
        self.value_scales = _zeros(shape[:-1], scales) if narrow else None
        self.dtype = like.dtype
        """In which keys and values are given."""
        self.lengths = torch.zeros(slots, dtype=torch.long, device=like.device)
        self.table = torch.zeros(slots, most, dtype=torch.long, device=like.device)
        if blocks is None:
            self.table = torch.arange(slots, device=like.device)[:, None]
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}
        """Layer by layer the encoder's keys and values of each slot, [slots S K D]."""
        self.sources = torch.zeros(slots, dtype=torch.long, device=like.device)
        """How many tokens the encoder read for each slot."""
        self.states: dict[int, State] = {}
        """Layer by layer what a scan remembers of each slot, [slots ...]."""

    @property
    def slots(self) -> int:
        return len(self.lengths)

    @staticmethod
    def bytes_per_slot(
        layers: int, room: int, key_shape: tuple[int, int], item: int, source: int = 0,
        narrow: bool = False,
    ) -> int:  # fmt: skip
        """`source` tokens of an encoder are kept beside the row's own."""
        heads, width = key_shape
        own = heads * (width + SCALE_BYTES) if narrow else heads * width * item
        tokens = math.ceil(room / STEP) * STEP
        return 2 * layers * (tokens * own + source * heads * width * item)

    def write(
        self, layer: int, block: Int[Tensor, "N"], offset: Int[Tensor, "N"],
        k: Float[Tensor, "N K D"], v: Float[Tensor, "N K D"],
    ) -> None:  # fmt: skip
        """Keep new tokens' keys and values in these places."""
        for kept, scales, new in (
            (self.keys, self.key_scales, k),
            (self.values, self.value_scales, v),
        ):
            if scales is None:
                kept[layer][block, :, offset] = new
            else:
                numbers, found = narrowed(new)
                kept[layer][block, :, offset] = numbers
                scales[layer][block, :, offset] = found

    def of_layer(self, layer: int) -> Kept:
        """Everything as it stands."""
        scales = (self.key_scales, self.value_scales)
        first, second = (None if one is None else one[layer] for one in scales)
        return Kept(self.keys[layer], self.values[layer], first, second)

    def places(
        self, slots: Int[Tensor, "N"], tokens: Int[Tensor, "N"]
    ) -> tuple[Int[Tensor, "N"], Int[Tensor, "N"]]:
        """Block of each row's token, and place in it."""
        return self.table[slots, tokens // self.size], tokens % self.size

    def gathered(
        self, layer: int, slots: Int[Tensor, "B"], span: int
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Keys and values of the first `span` tokens of rows, each in one piece; of a plain cache's
        first rows without copying."""
        kept = self.of_layer(layer)
        pairs = ((kept.keys, kept.key_scales), (kept.values, kept.value_scales))
        first, second = (self._gathered(one, scales, slots, span) for one, scales in pairs)
        return first, second

    def picked(
        self, layer: int, slots: Int[Tensor, "B"], tokens: Int[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S K D"], Float[Tensor, "B S K D"]]:
        """Keys and values of these tokens of each row."""
        block, offset = self.places(slots[:, None], tokens)
        kept = self.of_layer(layer)
        found = []
        for one, scales in ((kept.keys, kept.key_scales), (kept.values, kept.value_scales)):
            numbers = one[block, :, offset]
            if scales is not None:
                numbers = (numbers.float() * scales[block, :, offset][..., None]).to(self.dtype)
            found.append(numbers)
        return found[0], found[1]

    def _gathered(
        self, kept: Tensor, scales: Tensor | None, slots: Tensor, span: int
    ) -> Float[Tensor, "B K S D"]:
        found = self._piece(kept, slots, span)
        if scales is None:
            return found
        wide = found.float() * self._piece(scales[..., None], slots, span)
        return wide.to(self.dtype)

    def _piece(self, kept: Tensor, slots: Tensor, span: int) -> Tensor:
        if not self.paged and torch.equal(slots, self.table[: len(slots), 0]):
            return kept[: len(slots), :, :span]
        return _one_piece(kept, self.table[slots, : math.ceil(span / self.size)], span)

    def copy_block(self, source: int, target: int) -> None:
        """What one block holds into another: a row goes on by itself from there."""
        for kept in (self.keys, self.values, self.key_scales, self.value_scales):
            if kept is not None:
                kept[:, target] = kept[:, source]

    def keep(self, slots: Int[Tensor, "M"]) -> None:
        """Drop all rows of a plain cache but these, in this order. No memory beyond a layer's is
        taken for it, and none is given back."""
        assert not self.paged
        self.keys = _kept(self.keys, slots)
        self.values = _kept(self.values, slots)
        if self.key_scales is not None and self.value_scales is not None:
            self.key_scales = _kept(self.key_scales, slots)
            self.value_scales = _kept(self.value_scales, slots)
        self.lengths = self.lengths.index_select(0, slots)
        self.sources = self.sources.index_select(0, slots)
        self.table = torch.arange(len(slots), device=slots.device)[:, None]
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

    def state(self, layer: int, slots: Int[Tensor, "B"]) -> State:
        """What a scan remembers of some rows."""
        return tuple(part.index_select(0, slots) for part in self.states[layer])

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


def narrowed(x: Float[Tensor, "N K D"]) -> tuple[Int8[Tensor, "N K D"], Float[Tensor, "N K"]]:
    """Whole numbers and scales: x = s q, q the nearest of -127 .. 127, s = max |x| / 127."""
    wide = x.float()
    scales = wide.abs().amax(-1) / LARGEST
    numbers = wide / torch.where(scales == 0, 1.0, scales)[..., None]
    return numbers.round().to(torch.int8), scales


def _one_piece(
    kept: Float[Tensor, "N K S D"], blocks: Int[Tensor, "B M"], span: int
) -> Float[Tensor, "B K T D"]:
    rows, count = blocks.shape
    heads, size, width = kept.shape[1:]
    found = kept.index_select(0, blocks.flatten()).view(rows, count, heads, size, width)
    return found.transpose(1, 2).reshape(rows, heads, count * size, width)[:, :, :span]


def _kept(held: Float[Tensor, "L B ..."], slots: Int[Tensor, "M"]) -> Float[Tensor, "L M ..."]:
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


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Zeros which, on a CPU, the system gives only once something is written there."""
    count = math.prod(shape)
    if like.device.type != "cpu" or not count:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    plain = np.zeros(count * like.element_size(), dtype=np.uint8)
    return torch.from_numpy(plain).view(like.dtype).view(shape)
