"""From a token's vector to a score of every token of the vocabulary."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.activation import ACTIVATIONS
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import Held


class Head(nn.Module):
    """scores = W transform(x) * scale + b.

    `linear` None ties W to the token table. `vocabulary` is the length of a bias of its own, where
    W is tied and yet has one (BERT); a `constant` one is no parameter (BART).
    """

    def __init__(
        self,
        linear: Linear | None = None,
        transform: nn.Module | None = None,
        vocabulary: int = 0,
        scale: float = 1.0,
        constant: bool = False,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.transform = transform
        self.bias = _bias(vocabulary, constant)
        self.scale = scale

    def prepare(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """What W is multiplied with."""
        x = x if self.transform is None else self.transform(x)
        return x if self.scale == 1.0 else x * self.scale


ROUNDED = 256
"""With more rows at once scores of 16-bit numbers are rounded to 16 bits, by one product."""
CHUNK = 4096
"""Rows of a weight that are widened at a time: they stay in the processor's cache."""


def scores(
    x: Float[Tensor, "N C"], weight: Float[Tensor, "V C"] | Held, bias: Tensor | None
) -> Float[Tensor, "N V"]:
    """x W^T + b in float32. What PyTorch's product of bfloat16 gives is rounded to bfloat16: scores
    about 25 stand 1/8 apart, and the two likeliest tokens are often equal. For a few rows on a
    processor the weight is widened instead, part by part."""
    few = len(x) <= ROUNDED and x.device.type == "cpu" and not x.requires_grad
    small = None if bias is None else bias.to(x.dtype)
    if few and x.dtype.itemsize < torch.float32.itemsize:
        found = _widened(x.float(), weight, x.dtype)
        return found if small is None else found.add_(small)
    if isinstance(weight, Held):
        y = weight.product(x)
        return (y if small is None else y + small).float()
    return nn.functional.linear(x, weight.to(x.dtype), small).float()


def _widened(
    x: Float[Tensor, "N C"], weight: Float[Tensor, "V C"] | Held, dtype: torch.dtype
) -> Float[Tensor, "N V"]:
    """The products of the weight in `dtype`, of which a part at a time is held in float32."""
    count = weight.shape[0]
    found, room = torch.empty(len(x), count), torch.empty(min(CHUNK, count), x.shape[1])
    for start in range(0, count, CHUNK):
        rows = slice(start, start + CHUNK)
        part = (weight.codes.rows(rows) if isinstance(weight, Held) else weight[rows]).to(dtype)
        found[:, rows] = x @ room[: len(part)].copy_(part).T
    return found


def _bias(vocabulary: int, constant: bool) -> Tensor | None:
    if not vocabulary:
        return None
    values = torch.empty(vocabulary)
    return nn.Buffer(values) if constant else nn.Parameter(values)


class Transform(nn.Module):
    """norm(f(W x)): BERT's own layer before its scores (Devlin et al. 2019, in its code)."""

    def __init__(self, width: int, activation: str, norm: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        self.dense = Linear(width, width, "head.transform", bias=True)
        self.norm = norm

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return self.norm(ACTIVATIONS[self.activation](self.dense(x)))
