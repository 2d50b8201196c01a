"""A matrix in few bits made wide again by the C++ library."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from tutelage.kernels.library import loaded, pointer


def widened(
    numbers: Int8[Tensor, "O N G"] | UInt8[Tensor, "O N H"],
    scales: Float[Tensor, "O N 1"],
    minimums: Float[Tensor, "O N 1"] | None,
    to: Float[Tensor, "O I"],
) -> None:
    """Write what these stand for (the layout of `nn/quantized.py`) to a contiguous matrix in
    float32 or bfloat16."""
    few = numbers.dtype == torch.uint8
    group = numbers.shape[-1] * (2 if few else 1)
    wide = scales.float().contiguous()
    least = None if minimums is None else minimums.float().contiguous()
    numbers = numbers.contiguous()
    loaded().tutelage_widen(
        int(to.dtype == torch.bfloat16), torch.get_num_threads(), *to.shape, group, 4 if few else 8,
        pointer(numbers), pointer(wide), pointer(least), pointer(to),
    )  # fmt: skip
