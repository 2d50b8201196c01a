"""Token vectors, and the head that may share them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Embedding(nn.Module):
    """Row `i` of the table [V, C] for token `i`."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.role = "embed"
        self.weight = nn.Parameter(torch.empty(vocabulary, width))

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        return nn.functional.embedding(ids, self.weight)
