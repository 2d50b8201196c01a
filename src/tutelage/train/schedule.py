"""The learning rate of every step.

    cosine    up in a line, then down half a cosine to the floor
    wsd       up in a line, level, down in a line to the floor (warm-up, stable, decay)

Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5 (cosine, without restarts); Hu et al.
2024, arXiv:2404.06395, section 4 (WSD; their decay is exponential, ours linear as in Hägele et al.
2024, arXiv:2405.18392).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cosine", "wsd"]


@dataclass(frozen=True)
class Schedule:
    """`total` steps with the rate `peak` at most; the first `warmup` of them rise. `floor` is where
    it ends, as a share of the peak; `decay` the share of steps that fall, in wsd."""

    total: int
    peak: float
    warmup: int
    kind: Kind = "cosine"
    floor: float = 0.1
    decay: float = 0.2

    @staticmethod
    def tuning(total: int, peak: float) -> Schedule:
        """A twentieth rising, then a cosine."""
        return Schedule(total, peak, max(1, round(0.05 * total)))

    def at(self, step: int) -> float:
        """Steps count from 0; the first and the last one still learn."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        if self.kind == "wsd":
            return self.peak * (1 - (1 - self.floor) * self._fallen(step))
        progress = (step - self.warmup) / max(1, self.total - self.warmup)
        return self.peak * (
            self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        )

    def _fallen(self, step: int) -> float:
        falling = max(1, round(self.decay * self.total))
        return max(0.0, (step - (self.total - falling)) / falling)
