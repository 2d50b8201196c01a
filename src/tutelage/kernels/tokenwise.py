"""Norm, rotation and gate of each token by the C++ library, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutelage.kernels.library import loaded, pointer


def rms_norm(
    x: Float[Tensor, "... C"], gain: Float[Tensor, "C"], eps: float
) -> Float[Tensor, "... C"]:
    """gain * x / sqrt(mean(x^2) + eps)"""
    found: Tensor = _Norm.apply(x, gain, eps)
    return found


def rotate(
    x: Float[Tensor, "N heads D"], cosine: Float[Tensor, "N 1 D"], sine: Float[Tensor, "N 1 D"]
) -> Float[Tensor, "N heads D"]:
    """The pairs (x_j, x_{j+D/2}) turned by the token's angles."""
    found: Tensor = _Rotate.apply(x, cosine, sine)
    return found


def gated(gate: Float[Tensor, "... F"], up: Float[Tensor, "... F"]) -> Float[Tensor, "... F"]:
    """silu(gate) * up"""
    found: Tensor = _Gate.apply(gate, up)
    return found


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        x, wide = x.contiguous(), gain.float().contiguous()
        width, y = x.shape[-1], torch.empty_like(x)
        scale = torch.empty(x.numel() // width)
        loaded().tutelage_norm(
            *_common(x), len(scale), width, pointer(x), pointer(wide), eps, pointer(y),
            pointer(scale),
        )  # fmt: skip
        ctx.save_for_backward(x, gain, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale = ctx.saved_tensors
        dy, wide, dx = dy.contiguous(), gain.float().contiguous(), torch.empty_like(x)
        width = x.shape[-1]
        sums = torch.zeros(torch.get_num_threads(), width) if ctx.needs_input_grad[1] else None
        loaded().tutelage_norm_backward(
            *_common(x), len(scale), width, pointer(x), pointer(wide), pointer(scale), pointer(dy),
            pointer(dx), pointer(sums),
        )  # fmt: skip
        return dx, None if sums is None else sums.sum(0).to(gain.dtype), None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return _turned(dy, cosine, sine, -1.0), None, None


def _turned(x: Tensor, cosine: Tensor, sine: Tensor, sign: float) -> Tensor:
    x, y = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    tokens, heads, width = x.shape
    loaded().tutelage_rotate(
        *_common(x), tokens, heads, width, pointer(x), pointer(cosine), pointer(sine), sign,
        pointer(y),
    )  # fmt: skip
    return y


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up, y = gate.contiguous(), up.contiguous(), torch.empty_like(gate)
        loaded().tutelage_gate(*_common(gate), y.numel(), pointer(gate), pointer(up), pointer(y))
        ctx.save_for_backward(gate, up)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        dy, dgate, dup = dy.contiguous(), torch.empty_like(gate), torch.empty_like(up)
        loaded().tutelage_gate_backward(
            *_common(gate), dy.numel(), pointer(gate), pointer(up), pointer(dy), pointer(dgate),
            pointer(dup),
        )  # fmt: skip
        return dgate, dup


def _common(x: Tensor) -> tuple[int, int]:
    """Whether the numbers are bfloat16, and how many threads share the work."""
    return int(x.dtype == torch.bfloat16), torch.get_num_threads()
