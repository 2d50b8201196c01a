"""The rows of every step, out of token stores; a step's rows follow from its number alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tutelage.corpus.mixture import Mixture
from tutelage.corpus.tokens import TokenStore, Windows
from tutelage.data.pack import Example


class StepRows:
    """Step -> so many windows of `context` tokens, each predicting its next token everywhere.

    Counts the seconds spent on reading."""

    def __init__(
        self, stores: Mapping[str, TokenStore], weights: Mapping[str, float] | None, context: int,
        rows: int, seed: int,
    ) -> None:  # fmt: skip
        windows = {name: Windows(one, context, seed) for name, one in stores.items()}
        shares = weights or {name: float(one.count) for name, one in windows.items()}
        self.mixture = Mixture(windows, shares, seed)
        self.rows = rows
        self.seconds = 0.0

    def __getitem__(self, step: int) -> list[Example]:
        began = time.monotonic()
        found = [self._row(step * self.rows + row) for row in range(self.rows)]
        self.seconds += time.monotonic() - began
        return found

    def _row(self, position: int) -> Example:
        ids = tuple(self.mixture[position].tokens.tolist())
        return Example(ids[:-1], tuple(range(len(ids) - 1)), ids[1:], name=f"window {position}")
