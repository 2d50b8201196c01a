"""Products of activations with weights, in the type in which this processor multiplies fastest.

Intel's processors have an instruction for products of bfloat16 (AVX512-BF16) and, newer ones, units
for whole tiles of them (AMX). Without the units, as in a virtual machine that hides them, the
instruction does no more multiplications a second than float32's, and PyTorch's products come out
slower: 1,024 rows by a matrix of 576 x 1,536 12 to 23 ms in bfloat16, 7 in float32, 8 when both
sides are widened first and the result is rounded (by hand; docs/log.md). So they are multiplied
there: numbers are kept in bfloat16 as before, wide ones live for one product, and sums are rounded
once as before. AMD's processors (Zen 4) do twice as many in bfloat16, and nothing changes there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.machine.device import Placement, bfloat16_is_slow, multiplied_in

FEW = 64
"""With fewer rows a product takes as long as reading its weight, and widening that is no gain."""
CHUNK = 1024
"""Rows that are widened at a time."""
_rooms = threading.local()
"""Where wide numbers are for a product: made anew each time they would leave holes between what is
kept for the backward pass, a fifth of a training's memory."""


def linear(
    x: Float[Tensor, "... I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None = None
) -> Float[Tensor, "... O"]:
    """x W^T + b in the type of x, which is the weight's too."""
    if not _widens(x):
        return nn.functional.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias)
    return y


def product(
    x: Float[Tensor, "N I"],
    w: Float[Tensor, "I O"],
    more: tuple[Float[Tensor, "N R"], Float[Tensor, "R O"]] | None = None,
    bias: Float[Tensor, "O"] | None = None,
) -> Float[Tensor, "N O"]:
    """x w + b, and a second product added to it, in the type of x. It has no gradient."""
    if not _widens(x):
        y = x @ w if bias is None else torch.addmm(bias, x, w)
        return y if more is None else y.addmm_(*more)
    wide, second = _wide("w", w), None if more is None else _wide("second", more[1])
    y = x.new_empty(len(x), w.shape[1])
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        part = _wide("x", x[rows])
        found = torch.mm(part, wide, out=_room("y", (len(part), w.shape[1])))
        if more is not None and second is not None:
            found.addmm_(more[0][rows].float(), second)
        if bias is not None:
            found.add_(bias)
        y[rows] = found
    return y


def room_bytes(placement: Placement, shapes: Sequence[tuple[int, ...]]) -> int:
    """What a thread holds for products with matrices [O, I] of these shapes, once it has made one
    of enough rows."""
    if multiplied_in(placement) == placement.dtype or not shapes:
        return 0
    sides = max(rows for rows, _ in shapes) + max(columns for _, columns in shapes)
    return 4 * (CHUNK * sides + max(rows * columns for rows, columns in shapes))


def _widens(x: Float[Tensor, "... I"]) -> bool:
    here = x.dtype == torch.bfloat16 and x.device.type == "cpu" and bfloat16_is_slow()
    return here and x.numel() >= FEW * x.shape[-1]


def _wide(name: str, x: Float[Tensor, "N I"]) -> Float[Tensor, "N I"]:
    """In float32, where the last of this name was."""
    if x.t().is_contiguous():
        return _room(name, (x.shape[1], x.shape[0])).copy_(x.t()).t()
    return _room(name, (x.shape[0], x.shape[1])).copy_(x)


def _room(name: str, shape: tuple[int, int]) -> Float[Tensor, "N I"]:
    """Of this thread."""
    size = shape[0] * shape[1]
    room: Tensor | None = getattr(_rooms, name, None)
    if room is None or len(room) < size:
        with torch.inference_mode(False):  # else it cannot be written to beside gradients
            room = torch.empty(size)
        setattr(_rooms, name, room)
    return room[:size].view(shape)


class _Linear(torch.autograd.Function):
    """x W^T + b; nothing wide is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None)
        ctx.shape = x.shape
        y = product(x.reshape(-1, x.shape[-1]), weight.t(), bias=bias)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows, dx, dweight, dbias = dy.reshape(-1, dy.shape[-1]), None, None, None
        if weight is not None:
            dx = product(rows, weight).view(ctx.shape)
        if x is not None:
            dweight = product(rows.t(), x.reshape(-1, x.shape[-1]))
        if ctx.needs_input_grad[2]:
            dbias = rows.sum(0, dtype=torch.float32).to(dy.dtype)
        return dx, dweight, dbias
