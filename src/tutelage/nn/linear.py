"""The linear map, with the role it plays in its model.

Roles are how the rest of the package speaks of weights: LoRA targets, parallel plans, quantization
and counts are all given by role, never by an architecture's own names.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.product import linear


class Linear(nn.Module):
    """y = x W^T + b, with W [out, in] kept in its own type and used in the type of x.

    Trained weights are float32 masters while activations are bfloat16; frozen ones already are in
    the type they are used in, and the conversion costs nothing.
    """

    def __init__(self, width_in: int, width_out: int, role: str, bias: bool = False) -> None:
        super().__init__()
        self.role = role
        self.weight = nn.Parameter(torch.empty(width_out, width_in))
        self.bias = nn.Parameter(torch.empty(width_out)) if bias else None

    @property
    def shape(self) -> tuple[int, int]:
        """(width out, width in)."""
        return self.weight.shape[0], self.weight.shape[1]

    def matrix(self, dtype: torch.dtype) -> Float[Tensor, "O I"]:
        """W in this type."""
        return self.weight.to(dtype)

    def product(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """x W^T"""
        return linear(x, self.matrix(x.dtype))

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return linear(x, self.weight.to(x.dtype), bias)
