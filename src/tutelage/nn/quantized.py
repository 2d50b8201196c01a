"""The linear map with its weight in few bits: groups of numbers in a row share a scale.

    w = s q,    8 bits: q = -128 .. 127,  s = max |w| / 127 of the group
                4 bits: q = -8 .. 7,      s = m / -8, m the number of the group farthest from zero

q is the nearest whole number to w / s, and s is rounded to 16 bits before. 8.5 or 4.5 bits a weight
with groups of 32, which are those of llama.cpp's Q8_0 and Q4_0. A weight is widened again whenever
it is used and held no longer: in the backward pass a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.nn.linear import Linear

Bits = Literal[4, 8]
GROUP = 32
WIDEST_GROUP = 1024
BLOCK = 2**17
"""Numbers that are narrowed or widened at a time."""


@dataclass(frozen=True)
class Form:
    """How a weight is held: in so many bits, with a scale for each `group` of numbers in a row."""

    bits: Bits
    group: int = GROUP

    def __post_init__(self) -> None:
        """Raises ValueError for a form that is none."""
        if self.bits not in (4, 8):
            raise ValueError(f"{self.bits} bits")
        if not isinstance(self.group, int) or not 2 <= self.group <= WIDEST_GROUP or self.group % 2:
            raise ValueError(f"groups of {self.group}")

    def bytes_of(self, rows: int, columns: int) -> int:
        """Of a matrix, its scales included; the last group of a row may be filled up."""
        groups = -(-columns // self.group)
        return rows * groups * (self.group * self.bits // 8 + 2)


@dataclass(frozen=True)
class Codes:
    """A quantized matrix: whole numbers by group, and each group's scale. Two numbers of 4 bits
    share a byte: the low half is one of the group's first half, the high half one of its second."""

    numbers: Int8[Tensor, "O N G"] | UInt8[Tensor, "O N H"]
    scales: Float[Tensor, "O N 1"]
    columns: int

    def weight(self, dtype: torch.dtype) -> Float[Tensor, "O I"]:
        """The matrix that these stand for, rounded to `dtype` once."""
        found = torch.empty(len(self.scales), self.columns, dtype=dtype, device=self.scales.device)
        for rows in _blocks(*found.shape):
            packed = self.numbers[rows]
            if packed.dtype == torch.uint8:
                packed = torch.cat((packed & 15, packed >> 4), -1).view(torch.int8) - 8
            wide = packed.to(torch.float32).mul_(self.scales[rows])
            found[rows] = wide.flatten(1)[:, : self.columns]
        return found


def quantize(weight: Float[Tensor, "O I"], form: Form) -> Codes:
    """The nearest matrix of this form."""
    (rows, columns), here = weight.shape, weight.device
    groups, few = -(-columns // form.group), form.bits == 4
    kind, width = (torch.uint8, form.group // 2) if few else (torch.int8, form.group)
    numbers = torch.empty(rows, groups, width, dtype=kind, device=here)
    scales = torch.empty(rows, groups, 1, dtype=torch.float16, device=here)
    for block in _blocks(rows, columns):
        filled = nn.functional.pad(weight[block].float(), (0, groups * form.group - columns))
        numbers[block], scales[block] = _nearest(filled.view(-1, groups, form.group), few)
    return Codes(numbers, scales, columns)


def _nearest(weight: Float[Tensor, "O N G"], few: bool) -> tuple[Tensor, Tensor]:
    """Numbers and scales."""
    low, high = (-8, 7) if few else (-128, 127)
    if few:
        scales = weight.gather(-1, weight.abs().argmax(-1, keepdim=True)) / low
    else:
        scales = weight.abs().amax(-1, keepdim=True) / high
    scales = scales.half()
    divided = weight / torch.where(scales == 0, 1.0, scales.float())
    numbers = divided.round_().clamp_(low, high).to(torch.int8)
    if few:
        first, second = (numbers - low).view(torch.uint8).chunk(2, -1)
        numbers = first | (second << 4)
    return numbers, scales


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Runs of rows of which temporary copies stay in the processor's cache."""
    step = max(1, BLOCK // max(columns, 1))
    yield from (slice(first, first + step) for first in range(0, rows, step))


class QuantizedLinear(nn.Module):
    """y = x W^T + b with W frozen, in few bits."""

    def __init__(self, codes: Codes, form: Form, role: str, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.role = role
        self.form = form
        self.columns = codes.columns
        self.numbers = nn.Buffer(codes.numbers, persistent=False)
        self.scales = nn.Buffer(codes.scales, persistent=False)
        self.bias = bias

    @classmethod
    def of(cls, linear: Linear, weight: Float[Tensor, "O I"], form: Form) -> QuantizedLinear:
        """In the place of a Linear, with this weight."""
        return cls(quantize(weight, form), form, linear.role, linear.bias)

    @property
    def shape(self) -> tuple[int, int]:
        """(width out, width in)."""
        return self.numbers.shape[0], self.columns

    def matrix(self, dtype: torch.dtype) -> Float[Tensor, "O I"]:
        """W in this type, made anew."""
        return Codes(self.numbers, self.scales, self.columns).weight(dtype)

    def product(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """x W^T"""
        found: Tensor = _Widened.apply(x, self)
        return found

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


AnyLinear = Linear | QuantizedLinear


class _Widened(torch.autograd.Function):
    """x W^T; W is made for the product and again for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: QuantizedLinear) -> Tensor:
        ctx.linear = linear
        return nn.functional.linear(x, linear.matrix(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None]:
        return (dy @ ctx.linear.matrix(dy.dtype) if ctx.needs_input_grad[0] else None), None
