"""From a token's vector to a score of every token of the vocabulary."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.activation import ACTIVATIONS
from tutelage.nn.linear import Linear


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
