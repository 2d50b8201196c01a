"""Keys and values kept while text is generated, in blocks that rows can share.

    keys, values   [layers N K S D]   N blocks of S tokens each
    table          [slots M]          the blocks in which each row's tokens stand, in order
    lengths        [slots]            how many tokens each row has

A row's token t stands in place t mod S of block table[row, t div S]. Who holds which block is not
known here: a plain cache gives every row one block as long as its room, and an engine fills the
table of a paged one (`generate/blocks.py`). The kernels walk the table; where PyTorch computes
attention, the blocks are copied into one piece for the time of a layer.
Source: Kwon et al. 2023, arXiv:2309.06180, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.nn.attend import State

Memory = Callable[[], tuple[Tensor, Tensor]]
"""Gives the keys and values of the encoder's tokens."""

STEP = 32
"""Keys are read in multiples of this many places: each new matrix shape costs a set-up. Also the
tokens of a block."""


class Cache:
    """Room for `slots` rows of at most `room` tokens each; with `blocks` in so many blocks of STEP
    tokens for all rows, whose table is the caller's to fill."""

    def __init__(
        self, layers: int, slots: int, room: int, key_shape: tuple[int, int], like: Tensor,
        blocks: int | None = None,
    ) -> None:  # fmt: skip
        self.layers = layers
        most = math.ceil(room / STEP)
        self.room = most * STEP
        self.paged = blocks is not None
        self.size = self.room if blocks is None else STEP
        """Tokens of a block."""
        count = slots if blocks is None else blocks
        shape = (layers, count, key_shape[0], self.size, key_shape[1])
        self.keys, self.values = _zeros(shape, like), _zeros(shape, like)
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
        layers: int, room: int, key_shape: tuple[int, int], item: int, source: int = 0
    ) -> int:
        """`source` tokens of an encoder are kept beside the row's own."""
        tokens = math.ceil(room / STEP) * STEP + source
        return 2 * layers * key_shape[0] * key_shape[1] * tokens * item

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
        count = math.ceil(span / self.size)
        if not self.paged and torch.equal(slots, self.table[: len(slots), 0]):
            return (
                self.keys[layer][: len(slots), :, :span],
                self.values[layer][: len(slots), :, :span],
            )
        blocks = self.table[slots, :count]
        return _one_piece(self.keys[layer], blocks, span), _one_piece(
            self.values[layer], blocks, span
        )

    def copy_block(self, source: int, target: int) -> None:
        """What one block holds into another: a row goes on by itself from there."""
        for kept in (self.keys, self.values):
            kept[:, target] = kept[:, source]

    def keep(self, slots: Int[Tensor, "M"]) -> None:
        """Drop all rows of a plain cache but these, in this order. No memory beyond a layer's is
        taken for it, and none is given back."""
        assert not self.paged
        self.keys = _kept(self.keys, slots)
        self.values = _kept(self.values, slots)
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


def _one_piece(
    kept: Float[Tensor, "N K S D"], blocks: Int[Tensor, "B M"], span: int
) -> Float[Tensor, "B K T D"]:
    rows, count = blocks.shape
    heads, size, width = kept.shape[1:]
    found = kept.index_select(0, blocks.flatten()).view(rows, count, heads, size, width)
    return found.transpose(1, 2).reshape(rows, heads, count * size, width)[:, :, :span]


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


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Zeros which, on a CPU, the system gives only once something is written there."""
    count = math.prod(shape)
    if like.device.type != "cpu" or not count:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    plain = np.zeros(count * like.element_size(), dtype=np.uint8)
    return torch.from_numpy(plain).view(like.dtype).view(shape)
