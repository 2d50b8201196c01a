"""The optimizer, its schedule, and its state as named tensors.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= lr (m^ / (sqrt(v^) + eps) + decay w)

Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2 (AdamW).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adamw(parameters: Mapping[str, nn.Parameter], learning_rate: float) -> torch.optim.AdamW:
    """AdamW over the trained parameters, no decay: tuning moves little and briefly."""
    return torch.optim.AdamW(
        list(parameters.values()),
        lr=learning_rate,
        betas=BETAS,
        eps=EPSILON,
        weight_decay=0.0,
        fused=True,
    )


def learning_rate_at(step: int, total: int, peak: float, warmup: float, floor: float) -> float:
    """Linear warm-up over a share `warmup` of the steps, then a cosine down to `floor` x peak.

    Steps count from 0; the last one still learns.
    """
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (step + 1) / rising
    progress = (step - rising) / max(1, total - rising)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_tensors(
    optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Both moments of every parameter by name; empty before the first step."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}:{key}"] = value
    return tensors


def restore_optimizer(
    optimizer: torch.optim.AdamW,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """The inverse of `optimizer_tensors`."""
    for joined, value in tensors.items():
        name, _, key = joined.rpartition(":")
        parameter = parameters[name]
        where = torch.device("cpu") if key == "step" and not parameter.is_cuda else parameter.device
        optimizer.state[parameter][key] = value.to(where)
