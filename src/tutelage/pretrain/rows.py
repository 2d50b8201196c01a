"""The rows of every step, out of token stores; a step's rows follow from its number alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tutelage.corpus.mixture import Mixture
from tutelage.corpus.tokens import TokenStore, Windows
from tutelage.data.pack import Example
from tutelage.pretrain.makers import Maker


class StepRows:
    """Step -> so many rows, each what the objective makes of a window. Counts the seconds spent on
    reading."""

    def __init__(
        self, stores: Mapping[str, TokenStore], weights: Mapping[str, float] | None, maker: Maker,
        rows: int, seed: int,
    ) -> None:  # fmt: skip
        windows = {name: Windows(one, maker.window, seed) for name, one in stores.items()}
        shares = weights or {name: float(one.count) for name, one in windows.items()}
        self.mixture = Mixture(windows, shares, seed)
        self.maker = maker
        self.rows = rows
        self.seconds = 0.0

    def __getitem__(self, step: int) -> list[Example]:
        began = time.monotonic()
        found = [self._row(step * self.rows + row) for row in range(self.rows)]
        self.seconds += time.monotonic() - began
        return found

    def _row(self, position: int) -> Example:
        return self.maker.row(self.mixture[position].tokens.tolist(), position)
