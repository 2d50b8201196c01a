"""Loss scaling, without which float16 loses small gradients.

    g = (1 / s) d(s L)/dw,    s <- s / 2 and no update  where g overflowed,
                              s <- 2 s                  after so many updates without that

A scale that is a power of two changes no digit of a gradient, so where nothing over- or underflows
training is bitwise the same at every scale. What is not finite before its gradient, the loss
itself, no scale mends.
Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; the rule is that of PyTorch's
`torch.amp.GradScaler`, with its defaults; it goes on halving below 1, where here training is
refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

SMALLEST = 1.0
"""Below this, overflow is no matter of the scale."""


@dataclass
class LossScale:
    """The scale, after how many updates it doubles, how many there were since it last changed, and
    how many steps made no update."""

    value: float = 65536.0
    patience: int = 2000
    good: int = 0
    skipped: int = 0

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the scale."""
        gradients = [one.grad for one in parameters if one.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.value)

    def overflowed(self, norm: float) -> bool:
        """Told the norm of the gradient, whether its step is to be skipped; the scale follows."""
        if math.isfinite(norm):
            self.good += 1
            if self.good == self.patience:
                self.value, self.good = 2 * self.value, 0
            return False
        if self.value <= SMALLEST:
            return False
        self.value, self.good = self.value / 2, 0
        self.skipped += 1
        return True
