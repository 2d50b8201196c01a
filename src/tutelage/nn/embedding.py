"""From tokens to vectors: the token table, and what is added to its rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Tokens:
    """What a model reads: token ids on one axis, each with its position in its row and, where the
    model tells parts of a row apart (BERT), the type of its part; None is all of the first."""

    ids: Int[Tensor, "N"]
    positions: Int[Tensor, "N"]
    types: Int[Tensor, "N"] | None = None


class Embedding(nn.Module):
    """Row `i` of the table [V, C] for token `i`."""

    def __init__(self, vocabulary: int, width: int, role: str = "embed") -> None:
        super().__init__()
        self.role = role
        self.weight = nn.Parameter(torch.empty(vocabulary, width))

    @property
    def vocabulary(self) -> int:
        return self.weight.shape[0]

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        return nn.functional.embedding(ids, self.weight)


class Embed(nn.Module):
    """x = norm(scale * project(tokens[id]) + types[type] + positions(position)), of which any part
    but the token table may lack."""

    def __init__(
        self,
        tokens: Embedding,
        positions: nn.Module | None = None,
        types: Embedding | None = None,
        norm: nn.Module | None = None,
        scale: float = 1.0,
        project: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.project = project
        self.positions = positions
        self.types = types
        self.norm = norm
        self.scale = scale

    def forward(self, read: Tokens) -> Float[Tensor, "N C"]:
        x = self.tokens(read.ids)
        if self.project is not None:
            x = self.project(x)
        if self.scale != 1.0:
            x = x * self.scale
        if self.types is not None:
            x = x + self.types(torch.zeros_like(read.ids) if read.types is None else read.types)
        if self.positions is not None:
            x = x + self.positions(read.positions)
        return x if self.norm is None else self.norm(x)
