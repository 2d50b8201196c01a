"""Normalization of a token's vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.kernels import tokenwise as kernel
from tutelage.kernels.library import computes


class RMSNorm(nn.Module):
    """y = g * x / sqrt(mean(x^2) + eps), computed in float32, returned in the type of x.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; eps inside the root as in LLaMA.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.role = "norm"
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        if computes(x):
            return kernel.rms_norm(x, self.weight, self.eps)
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale).to(x.dtype) * self.weight.to(x.dtype)
