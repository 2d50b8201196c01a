"""Normalization of a token's vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.kernels import tokenwise as kernel
from tutelage.kernels.library import computes


class RMSNorm(nn.Module):
    """y = (g + offset) * x / sqrt(mean(x^2) + eps), computed in float32, in the type of x.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; eps inside the root as in LLaMA.
    `offset` is 1 in Gemma, whose gains are stored as what they differ from 1.
    """

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.role = "norm"
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps
        self.offset = offset

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        gain = self.weight + self.offset if self.offset else self.weight
        if computes(x):
            return kernel.rms_norm(x, gain, self.eps)
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * gain.to(x.dtype)


class LayerNorm(nn.Module):
    """y = g * (x - mean(x)) / sqrt(var(x) + eps) + b.

    Source: Ba et al. 2016, arXiv:1607.06450, eq. 4."""

    def __init__(self, width: int, eps: float, bias: bool = True) -> None:
        super().__init__()
        self.role = "norm"
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        self.eps = eps

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.layer_norm(
            x, self.weight.shape, self.weight.to(x.dtype), bias, self.eps
        )
