"""Windows of several token stores in one training order, each source in its share.

    mixture = Mixture({"domain": Windows(a, 1024), "general": Windows(b, 1024)},
                      {"domain": 0.51, "general": 0.49}, seed=0)
    mixture[1234567]          # a Drawn: the source's name and the window, whatever came before

The order is cut into blocks of 1,000 windows. Each block holds the same number of windows of each
source, its share rounded, in an order of its own; so which source a position belongs to, and how
many windows of that source came before, is computed and not counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from tutelage.corpus.mix import proportions
from tutelage.corpus.permute import permuted
from tutelage.corpus.tokens import Windows
from tutelage.errors import ConfigError

BLOCK = 1000


@dataclass(frozen=True)
class Drawn:
    """A window, its source, and its position in that source's own order."""

    source: str
    position: int
    tokens: np.ndarray


class Mixture:
    """Several orders of windows as one."""

    def __init__(
        self, windows: Mapping[str, Windows], weights: Mapping[str, float], seed: int = 0
    ) -> None:
        """`weights` are shares of windows, in any unit. Raises ConfigError where they do not name
        the sources, or one is too small to be drawn once in a block."""
        if set(windows) != set(weights) or not windows:
            raise ConfigError(
                "the weights do not name the sources",
                field="weights",
                got=", ".join(sorted(weights)),
                expected=", ".join(sorted(windows)),
            )
        self.windows, self.seed = dict(windows), seed
        self.quotas = quotas({name: weights[name] for name in windows})
        """Windows of each source in a block."""
        self._names = list(self.quotas)
        self._ends = list(accumulate(self.quotas.values()))

    def place(self, position: int) -> tuple[str, int]:
        """The source of a position of the training order, and the position in its own."""
        block, place = divmod(position, BLOCK)
        slot = permuted(place, BLOCK, f"mixture:{self.seed}:{block}")
        number = bisect_right(self._ends, slot)
        name = self._names[number]
        quota = self.quotas[name]
        return name, block * quota + slot - (self._ends[number] - quota)

    def __getitem__(self, position: int) -> Drawn:
        """The window at a position, which counts on without end."""
        if position < 0:
            raise IndexError(position)
        name, own = self.place(position)
        return Drawn(name, own, self.windows[name][own])

    def epochs(self, windows: int) -> dict[str, float]:
        """How often each source will have been read after that many windows."""
        return {
            name: windows * quota / BLOCK / self.windows[name].count
            for name, quota in self.quotas.items()
        }


def quotas(weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that sum to BLOCK, nearest to the shares (largest remainders first).

    Raises ConfigError for a share that rounds to none.
    """
    exact = {name: share * BLOCK for name, share in proportions(weights, 1.0).items()}
    found = {name: int(value) for name, value in exact.items()}
    short = BLOCK - sum(found.values())
    for name in sorted(exact, key=lambda name: found[name] - exact[name])[:short]:
        found[name] += 1
    for name, count in found.items():
        if count == 0:
            raise ConfigError(
                f"the share of {name} is too small",
                field="weights",
                got=f"{exact[name] / BLOCK:g}",
                expected=f"at least {1 / BLOCK:g}",
            )
    return found
