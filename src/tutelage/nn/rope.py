"""Rotary position embedding and its extensions to longer contexts.

    rotate(x, m)_j = x_j cos(m w_j) - x_{j+D/2} sin(m w_j)      (halves paired, j < D/2)
    w_j = theta^(-2j/D)

Source: Su et al. 2021, arXiv:2104.09864, eq. 34. Differs: pairs (j, j + D/2) instead of
(2j, 2j + 1), the layout of Hugging Face's weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels import tokenwise as kernel
from tutelage.kernels.library import computes

Scaling = Literal["default", "linear", "dynamic", "yarn", "llama3"]


@dataclass(frozen=True)
class Rope:
    """Frequencies of one model. `original_context` is the context it was first trained on."""

    head_width: int
    theta: float = 10_000.0
    scaling: Scaling = "default"
    factor: float = 1.0
    original_context: int = 2048
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def angles(
        self, positions: Int[Tensor, "N"]
    ) -> tuple[Float[Tensor, "N 1 D"], Float[Tensor, "N 1 D"]]:
        """Cosine and sine for each position, float32, ready to multiply [N, heads, D]."""
        frequencies = self.frequencies(int(positions.max()) + 1 if len(positions) else 1)
        turns = torch.outer(positions.float(), frequencies.to(positions.device))
        turns = torch.cat([turns, turns], dim=-1)[:, None, :]
        scale = self._temperature()
        return turns.cos() * scale, turns.sin() * scale

    def frequencies(self, length: int) -> Float[Tensor, "D/2"]:
        """Radians per position for each pair; `length` matters to dynamic scaling alone."""
        base = self.theta
        if self.scaling == "dynamic" and length > self.original_context:
            # NTK-aware: the base grows so that the slowest pair spans `length` positions.
            stretch = self.factor * length / self.original_context - (self.factor - 1)
            base *= stretch ** (self.head_width / (self.head_width - 2))
        exponents = torch.arange(0, self.head_width, 2, dtype=torch.float32) / self.head_width
        plain = 1.0 / (base**exponents)
        if self.scaling == "linear":
            return plain / self.factor
        if self.scaling == "llama3":
            return self._llama3(plain)
        if self.scaling == "yarn":
            return self._yarn(plain)
        return plain

    def _llama3(self, plain: Tensor) -> Tensor:
        """Slow pairs divided by the factor, fast ones kept, between them a smooth mix.

        Source: Llama 3.1 release, as in Hugging Face's rope type `llama3`.
        """
        wavelength = 2 * math.pi / plain
        low = self.original_context / self.low_frequency_factor
        high = self.original_context / self.high_frequency_factor
        share = (self.original_context / wavelength - self.low_frequency_factor) / (
            self.high_frequency_factor - self.low_frequency_factor
        )
        mixed = (1 - share) * plain / self.factor + share * plain
        scaled = torch.where(wavelength > low, plain / self.factor, mixed)
        return torch.where(wavelength < high, plain, scaled)

    def _yarn(self, plain: Tensor) -> Tensor:
        """NTK by parts. Source: Peng et al. 2023, arXiv:2309.00071, section 3.2."""

        def pair_turning(turns: float) -> float:
            return (
                self.head_width
                * math.log(self.original_context / (turns * 2 * math.pi))
                / (2 * math.log(self.theta))
            )

        low = max(math.floor(pair_turning(self.beta_fast)), 0)
        high = min(math.ceil(pair_turning(self.beta_slow)), self.head_width - 1)
        index = torch.arange(self.head_width // 2, dtype=torch.float32)
        interpolated = ((index - low) / max(high - low, 0.001)).clamp(0, 1)
        return plain / self.factor * interpolated + plain * (1 - interpolated)

    def _temperature(self) -> float:
        """YaRN's scale of the attention logits' square root; 1 elsewhere."""
        if self.scaling != "yarn":
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0


def rotate(
    x: Float[Tensor, "N heads D"], cosine: Float[Tensor, "N 1 D"], sine: Float[Tensor, "N 1 D"]
) -> Float[Tensor, "N heads D"]:
    """Turn each head's vector by its position's angles, in float32, back in the type of x."""
    if computes(x):
        return kernel.rotate(x, cosine, sine)
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    return (wide * cosine + torch.cat([-second, first], dim=-1) * sine).to(x.dtype)
