"""Attention of one new query a row over that row's own keys, by the C++ library."""

from __future__ import annotations

import ctypes

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels.library import MOST_GROUP, MOST_WIDTH, OwnStruct, computes, library, pointer


def available(q: Float[Tensor, "B H D"], keys: Float[Tensor, "N K S D"]) -> bool:
    """Whether the library was built and can compute these shapes and types."""
    return (
        computes(q)
        and keys.dtype in (q.dtype, torch.int8)
        and q.shape[1] // keys.shape[1] <= MOST_GROUP
        and q.shape[2] <= MOST_WIDTH
    )


def attend_own(
    q: Float[Tensor, "B H D"],
    keys: Float[Tensor, "N K S D"],
    values: Float[Tensor, "N K S D"],
    table: Int[Tensor, "B M"],
    lengths: Int[Tensor, "B"],
    scales: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Float[Tensor, "B H D"]:
    """y = softmax(q k^T / sqrt(D)) v over each row's first `lengths` keys, which stand in the
    blocks of its row of `table`, S in each; keys and values in 8 bits times their `scales`."""
    loaded = library()
    assert loaded is not None
    rows, heads, width = q.shape
    threads, size, most = torch.get_num_threads(), keys.shape[2], table.shape[1]
    q, table = q.contiguous(), table.contiguous()
    y, lse = torch.empty_like(q), torch.empty(rows, heads)
    scratch = torch.empty(threads * heads // keys.shape[1] * most * size)
    loaded.tutelage_attend(
        ctypes.byref(
            OwnStruct(
                half=int(q.dtype == torch.bfloat16),
                rows=rows,
                heads=heads,
                key_heads=keys.shape[1],
                head_width=width,
                size=size,
                most=most,
                threads=threads,
                q=pointer(q),
                keys=pointer(keys),
                values=pointer(values),
                table=pointer(table),
                length=pointer(lengths),
                y=pointer(y),
                lse=pointer(lse),
                scratch=pointer(scratch),
                key_scales=pointer(scales[0]),
                value_scales=pointer(scales[1]),
            )
        )
    )
    return y
