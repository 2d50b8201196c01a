"""Several LoRA adapters on one base in one pass, each row with its own.

    y_i = W x_i + sum over ranks r of [owner_r = adapter of row i] (s B)_r (A x_i)_r

A and B of all adapters stand one beside the other, so that a pass takes two narrow products more,
whichever rows ask for which adapter; what belongs to other rows' adapters is set to zero between
them. Aim as of Chen et al. 2023, arXiv:2310.18547 (Punica), who gather each row's A and B instead:
on a CPU a mask over some hundred columns costs less than gathering.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.nn.low_rank import LowRank
from tutelage.nn.quantized import AnyLinear
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._wrapped import Wrapped


class Mix:
    """Which adapter each row of the next passes has, by number; -1 none."""

    def __init__(self) -> None:
        self._rows = torch.empty(0, dtype=torch.long)
        self._masks: dict[tuple[int, ...], Tensor] = {}

    def put(self, rows: Int[Tensor, "N"]) -> None:
        self._rows, self._masks = rows, {}

    def rows(self, count: int) -> Int[Tensor, "N"]:
        """Of the `count` rows of the next pass."""
        assert len(self._rows) == count
        return self._rows

    def mask(self, owners: tuple[int, ...], like: Tensor) -> Float[Tensor, "N R"]:
        """1 where a rank belongs to the row's adapter; made once for all layers alike."""
        if owners not in self._masks:
            of = torch.tensor(owners, device=self._rows.device)
            self._masks[owners] = (self._rows[:, None] == of).to(like)
        return self._masks[owners]


class MixedLinear(Wrapped):
    """A frozen Linear with the updates of some of `count` adapters, given by their numbers."""

    def __init__(
        self, base: AnyLinear, adapters: Sequence[tuple[int, LoraLinear]], mix: Mix, count: int
    ) -> None:
        super().__init__(base)
        self._mix, self._count = mix, count
        self._owners = tuple(number for number, one in adapters for _ in one.lora_a)
        with torch.no_grad():
            self._a = torch.cat([one.lora_a for _, one in adapters])
            self._b = torch.cat([one.up() * one.scale for _, one in adapters], dim=1)

    def forward(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        low = x @ self._a.to(x.dtype).t()
        low = low * self._mix.mask(self._owners, low)
        return torch.addmm(self.base(x), low, self._b.to(x.dtype).t())

    def low_rank(self) -> LowRank:
        """Itself: each adapter's ranks stand together, in the order of the adapters' numbers."""
        starts = tuple(
            sum(owner < number for owner in self._owners) for number in range(self._count + 1)
        )
        return LowRank(self.base, self._a, self._b, starts, self._mix.rows)
