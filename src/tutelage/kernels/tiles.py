"""Matrices in few bits as the C++ products read them: sixteen rows side by side.

A tile is sixteen rows; each of its groups of 32 places is, one after the other,

    codes      [Q, 16, 4] bytes     four neighbours of each row, for one register of the processor
    scales     [16] float16
    minimums   [16] float16         of the form that has them

In 4 bits Q is 4, the bytes of nn/quantized.py: byte j of a group holds places j and j + 16.
In 8 bits Q is 8, numbers moved up by 128 (the processor's products take unsigned numbers on one
side). The last tile is filled up with rows of zeros.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

ROWS = 16
BLOCK = 64
"""Tiles that are laid at a time: copies on the way stay small."""
LARGE = 2**21
"""A large page."""


def lay(matrices: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> list[UInt8[Tensor, "M N B"]]:
    """`tiles` of each, one after the other in memory of large pages: a step reads all of it in this
    order, at what memory gives."""
    shapes = [_shape(numbers, minimums) for numbers, _, minimums in matrices]
    sizes = [tiles * groups * width for tiles, groups, width in shapes]
    places = _room(sum(sizes)).split(sizes)
    laid = [place.view(shape) for place, shape in zip(places, shapes, strict=True)]
    for to, (numbers, scales, minimums) in zip(laid, matrices, strict=True):
        for start in range(0, len(to), BLOCK):
            rows = slice(start * ROWS, (start + BLOCK) * ROWS)
            least = None if minimums is None else minimums[rows]
            to[start : start + BLOCK] = tiles(numbers[rows], scales[rows], least)
    return laid


def _shape(numbers: Tensor, minimums: Tensor | None) -> tuple[int, int, int]:
    rows, groups, width = numbers.shape
    return -(-rows // ROWS), groups, ROWS * (width + (2 if minimums is None else 4))


def _room(size: int) -> UInt8[Tensor, "size"]:
    """Memory that begins with a page, a large one where the system has them."""
    mapped = mmap.mmap(-1, size + LARGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        mapped.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(mapped, dtype=torch.uint8)
    start = -whole.data_ptr() % LARGE
    return whole[start : start + size]


def tiles(
    numbers: Tensor, scales: Tensor, minimums: Tensor | None
) -> UInt8[Tensor, "tiles N bytes"]:
    """From codes [O, N, 32] of 8 bits or [O, N, 16] of two in a byte, and [O, N, 1] beside them."""
    more, (count, groups, _) = -len(numbers) % ROWS, numbers.shape
    codes = numbers.view(torch.uint8) ^ 128 if numbers.dtype == torch.int8 else numbers
    codes = pad(codes, (0, 0, 0, 0, 0, more)).view((count + more) // ROWS, ROWS, groups, -1, 4)
    parts = [codes.permute(0, 2, 3, 1, 4).flatten(2)]
    for each in (scales, minimums):
        if each is not None:
            beside = pad(each[..., 0], (0, 0, 0, more)).view(-1, ROWS, groups).mT.contiguous()
            parts.append(beside.view(torch.uint8))
    return torch.cat(parts, 2)
