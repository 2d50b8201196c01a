"""Sparse attention: which keys a query may see, from the places of both.

Each is a `Sees` of `nn/attend.py`, used together with causality or without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Keys fewer than `size` places before the query, or after it.

    Source: Beltagy et al. 2020, arXiv:2004.05150, section 3.1; one-sided as in Jiang et al. 2023,
    arXiv:2310.06825, section 2 (Mistral: `size` keys, the query's own among them).
    """

    size: int

    def __call__(
        self, queries: Int[Tensor, "B T 1"], keys: Int[Tensor, "S"]
    ) -> Bool[Tensor, "B T S"]:
        return (queries - keys).abs() < self.size
