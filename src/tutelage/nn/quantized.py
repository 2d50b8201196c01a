"""The linear map and the token table with their numbers in few bits; groups of a row share a scale.

This layout is the same in memory and in files; kernels/tiles.py lays it out anew for the decoding
step in C++. A matrix of O rows in groups of G places, N = ceil(columns / G) groups a row, is

    numbers   int8  [O, N, G]     8 bits:  q = -128 .. 127
              uint8 [O, N, G/2]   4 bits:  q =    0 .. 15, two a byte: byte j of a group holds place
                                  j in its low half and place j + G/2 in its high half
    scales    float16 [O, N, 1]   s
    minimums  float16 [O, N, 1]   m, of the form with minimums alone

all contiguous and little-endian, the last group of a row filled up with places that count for
nothing. A file may begin a tensor at any multiple of 2 bytes. What a place holds:

    w = s q         8 bits                  s = max |w| / 127          8.5 bits a weight, G = 32
    w = s (q - 8)   4 bits                  s = e / -8                 4.5
    w = s q + m     4 bits with minimums    s = (max w - min w) / 15,  m = min w     5

with e the number of the group farthest from zero. s and m are rounded to 16 bits first; q is then
the whole number nearest to what gives w. In groups of 32 these are the numbers of llama.cpp's Q8_0,
Q4_0 and Q4_1 in the order of their blocks (ggml, ggml-common.h), scales set apart.

In PyTorch a weight is widened whenever it is used and held no longer: in the backward pass a second
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Int8, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.kernels.library import computes
from tutelage.kernels.widen import widened
from tutelage.nn.form import Form
from tutelage.nn.linear import Linear
from tutelage.nn.product import linear

BLOCK = 2**17
"""Numbers that are narrowed or widened at a time."""


@dataclass(frozen=True)
class Codes:
    """A quantized matrix, in the layout above."""

    numbers: Int8[Tensor, "O N G"] | UInt8[Tensor, "O N H"]
    scales: Float[Tensor, "O N 1"]
    columns: int
    minimums: Float[Tensor, "O N 1"] | None = None

    @property
    def form(self) -> Form:
        few = self.numbers.dtype == torch.uint8
        width = self.numbers.shape[-1]
        return Form(4 if few else 8, 2 * width if few else width, self.minimums is not None)

    def to(self, device: str) -> Codes:
        """The same on a device."""
        minimums = None if self.minimums is None else self.minimums.to(device)
        return Codes(self.numbers.to(device), self.scales.to(device), self.columns, minimums)

    def weight(self, dtype: torch.dtype) -> Float[Tensor, "O I"]:
        """The matrix that these stand for, rounded to `dtype` once."""
        found = torch.empty(len(self.scales), self.columns, dtype=dtype, device=self.scales.device)
        if computes(found):
            widened(self.numbers, self.scales, self.minimums, found)
            return found
        for rows in _blocks(*found.shape):
            found[rows] = self.rows(rows)
        return found

    def rows(self, which: slice | Int[Tensor, "M"]) -> Float[Tensor, "M I"]:
        """Some of its rows, in float32."""
        packed = self.numbers[which]
        if packed.dtype == torch.uint8:
            packed = torch.cat((packed & 15, packed >> 4), -1)
            packed = packed if self.minimums is not None else packed.view(torch.int8) - 8
        wide = packed.to(torch.float32).mul_(self.scales[which])
        if self.minimums is not None:
            wide += self.minimums[which]
        return wide.flatten(1)[:, : self.columns]


def quantize(weight: Float[Tensor, "O I"], form: Form) -> Codes:
    """The nearest matrix of this form, number by number."""
    (rows, columns), here = weight.shape, weight.device
    groups, few = -(-columns // form.group), form.bits == 4
    kind, width = (torch.uint8, form.group // 2) if few else (torch.int8, form.group)
    numbers = torch.empty(rows, groups, width, dtype=kind, device=here)
    scales = torch.empty(rows, groups, 1, dtype=torch.float16, device=here)
    minimums = torch.empty_like(scales) if form.minimum else None
    for block in _blocks(rows, columns):
        filled = nn.functional.pad(weight[block].float(), (0, groups * form.group - columns))
        grouped = filled.view(-1, groups, form.group)
        if minimums is None:
            found, scales[block] = _nearest(grouped, few)
        else:
            _repeat_last(grouped, columns)
            found, scales[block], minimums[block] = _nearest_from_minimum(grouped)
        numbers[block] = _paired(found) if few else found
    return Codes(numbers, scales, columns, minimums)


def _nearest(weight: Float[Tensor, "O N G"], few: bool) -> tuple[Tensor, Tensor]:
    """Numbers, of 4 bits 0 .. 15, and scales."""
    low, high = (-8, 7) if few else (-128, 127)
    if few:
        scales = weight.gather(-1, weight.abs().argmax(-1, keepdim=True)) / low
    else:
        scales = weight.abs().amax(-1, keepdim=True) / high
    scales = scales.half()
    divided = weight / torch.where(scales == 0, 1.0, scales.float())
    numbers = divided.round_().clamp_(low, high).to(torch.int8)
    return (numbers - low if few else numbers), scales


def _nearest_from_minimum(weight: Float[Tensor, "O N G"]) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers 0 .. 15, scales and minimums."""
    least, most = weight.aminmax(dim=-1, keepdim=True)
    scales, minimums = ((most - least) / 15).half(), least.half()
    divided = (weight - minimums.float()) / torch.where(scales == 0, 1.0, scales.float())
    return divided.round_().clamp_(0, 15).to(torch.int8), scales, minimums


def _repeat_last(weight: Float[Tensor, "O N G"], columns: int) -> None:
    """Fill the last group up with its own last number: a zero could widen what it spans."""
    flat = weight.flatten(1)
    flat[:, columns:] = flat[:, columns - 1 : columns]


def _paired(numbers: Int8[Tensor, "O N G"]) -> UInt8[Tensor, "O N H"]:
    """Two a byte."""
    first, second = numbers.view(torch.uint8).chunk(2, -1)
    return first | (second << 4)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Runs of rows of which temporary copies stay in the processor's cache."""
    step = max(1, BLOCK // max(columns, 1))
    yield from (slice(first, first + step) for first in range(0, rows, step))


class Held(nn.Module):
    """A matrix in few bits, as frozen buffers that a state does not list."""

    numbers: Tensor
    scales: Tensor
    minimums: Tensor | None

    def __init__(self, codes: Codes) -> None:
        super().__init__()
        self.form = codes.form
        self.columns = codes.columns
        self.numbers = nn.Buffer(codes.numbers, persistent=False)
        self.scales = nn.Buffer(codes.scales, persistent=False)
        kept = codes.minimums
        self.minimums = None if kept is None else nn.Buffer(kept, persistent=False)

    @property
    def codes(self) -> Codes:
        return Codes(self.numbers, self.scales, self.columns, self.minimums)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return self.numbers.shape[0], self.columns

    def matrix(self, dtype: torch.dtype) -> Float[Tensor, "O I"]:
        """W in this type, made anew."""
        return self.codes.weight(dtype)

    def product(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """x W^T"""
        found: Tensor = _Widened.apply(x, self)
        return found


class QuantizedLinear(Held):
    """y = x W^T + b with W frozen, in few bits."""

    def __init__(self, codes: Codes, role: str, bias: nn.Parameter | None) -> None:
        super().__init__(codes)
        self.role = role
        self.bias = bias

    @classmethod
    def of(cls, linear: Linear, weight: Float[Tensor, "O I"], form: Form) -> QuantizedLinear:
        """In the place of a Linear, with this weight."""
        return cls(quantize(weight, form), linear.role, linear.bias)

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        y = self.product(x)
        return y if self.bias is None else y + self.bias.to(x.dtype)

    def plain(self, weight: Float[Tensor, "O I"]) -> Linear:
        """The Linear with this weight and the same bias."""
        rows, columns = self.shape
        with torch.device("meta"):
            linear = Linear(columns, rows, self.role, bias=self.bias is not None)
        linear.weight = nn.Parameter(weight, requires_grad=False)
        linear.bias = self.bias
        return linear


class QuantizedEmbedding(Held):
    """Row `i` of a table [V, C] in few bits for token `i`, in `dtype`; a tied head multiplies with
    the same table."""

    def __init__(self, codes: Codes, role: str, dtype: torch.dtype) -> None:
        super().__init__(codes)
        self.role = role
        self.dtype = dtype

    @property
    def vocabulary(self) -> int:
        return self.shape[0]

    @property
    def weight(self) -> Float[Tensor, "V C"]:
        """The whole table, made anew."""
        return self.matrix(self.dtype)

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        return self.codes.rows(ids).to(self.dtype)


AnyLinear = Linear | QuantizedLinear


class _Widened(torch.autograd.Function):
    """x W^T; W is made for the product and again for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, held: Held) -> Tensor:
        ctx.held = held
        return linear(x, held.matrix(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        return linear(dy, ctx.held.matrix(dy.dtype).t()), None
