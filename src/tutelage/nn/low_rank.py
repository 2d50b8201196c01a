"""What adapters put beside a linear map, for whoever computes it otherwise than by its forward.

y_i = W x_i + sum over ranks r of [r is of the adapter of token i] up_r (down_r . x_i)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.nn.quantized import AnyLinear


@dataclass(frozen=True)
class LowRank:
    """Updates of one linear map by any number of adapters. Ranks `starts[k]` to `starts[k + 1]` are
    adapter k's; `adapters(N)` says whose adapter each of the next pass's N tokens has, -1 none."""

    base: AnyLinear
    down: Float[Tensor, "R I"]
    up: Float[Tensor, "O R"]
    starts: tuple[int, ...]
    adapters: Callable[[int], Int[Tensor, "N"]]

    @property
    def most(self) -> int:
        """Ranks of the widest."""
        return max(after - before for before, after in pairwise(self.starts))


@runtime_checkable
class Adapted(Protocol):
    """A module in the place of a linear map."""

    def low_rank(self) -> LowRank | None:
        """The same as its forward; None where that is more than low ranks."""
        ...


def the_first(count: int) -> Int[Tensor, "N"]:
    """The one adapter there is, for every token."""
    return torch.zeros(count, dtype=torch.long)
