"""Optimizers, and their state as named tensors.

    AdamW   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
            w -= lr (m^ / (sqrt(v^) + eps) + decay w)
    Muon    B = mu B + g,  w -= lr (0.2 sqrt(max(rows, columns)) orthogonal(g + mu B) + decay w)

Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2 (AdamW); Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon, with the scale of Liu et al. 2025, arXiv:2502.16982,
section 2.2, under which both take the same learning rate. Both are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8
PRETRAINING_BETAS = (0.9, 0.95)


class Optimizers:
    """Several optimizers, each with parameters of its own, used as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        self._owner = {
            parameter: part
            for part in parts
            for group in part.param_groups
            for parameter in group["params"]
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        """What is remembered of one parameter; may be written to."""
        found: dict[str, Any] = self._owner[parameter].state[parameter]
        return found

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)


def adamw(
    parameters: Mapping[str, nn.Parameter],
    learning_rate: float,
    paces: Mapping[str, tuple[float, float]] | None = None,
) -> Optimizers:
    """AdamW over the trained parameters, no decay: tuning moves little and briefly. `paces` are,
    by name, what the learning rate is multiplied with, and the share of the steps before which a
    parameter is not trained; 1 and 0 for names that are not there."""
    if not paces:
        return Optimizers([_adamw(list(parameters.values()), learning_rate, BETAS, 0.0)])
    each: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        each.setdefault(paces.get(name, (1.0, 0.0)), []).append(parameter)
    groups = [
        {"params": found, "scale": scale, "start": start} for (scale, start), found in each.items()
    ]
    return Optimizers([_adamw(groups, learning_rate, BETAS, 0.0)])


def at_pace(optimizer: Optimizers, learning_rate: float, share: float) -> None:
    """Set each group's learning rate, and train those alone whose time has come, where `share` of
    the steps are done."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("scale", 1.0)
        if "start" in group:
            for parameter in group["params"]:
                parameter.requires_grad_(share >= group["start"])


def pretraining(
    parameters: Mapping[str, nn.Parameter],
    learning_rate: float,
    *,
    muon: Collection[str] = (),
    decay: float = 0.1,
) -> Optimizers:
    """AdamW, and Muon for the matrices named in `muon`; matrices decay, gains and biases do not."""
    matrices = [p for name, p in parameters.items() if p.ndim > 1 and name not in muon]
    rest = [p for p in parameters.values() if p.ndim < 2]
    parts: list[torch.optim.Optimizer] = []
    if muon:
        parts.append(
            torch.optim.Muon(
                [parameters[name] for name in parameters if name in muon],
                lr=learning_rate,
                weight_decay=decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    for group, fading in ((matrices, decay), (rest, 0.0)):
        if group:
            parts.append(_adamw(group, learning_rate, PRETRAINING_BETAS, fading))
    return Optimizers(parts)


def _adamw(
    parameters: Sequence[Any], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """Of parameters, or of groups of them."""
    return torch.optim.AdamW(
        parameters, lr=rate, betas=betas, eps=EPSILON, weight_decay=decay, fused=True
    )


def optimizer_tensors(
    optimizer: Optimizers, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """What is remembered of every parameter, by name; empty before the first step."""
    return {
        f"{name}:{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state_of(parameter).items()
    }


def restore_optimizer(
    optimizer: Optimizers,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """The inverse of `optimizer_tensors`."""
    for joined, value in tensors.items():
        name, _, key = joined.rpartition(":")
        parameter = parameters[name]
        where = torch.device("cpu") if key == "step" and not parameter.is_cuda else parameter.device
        optimizer.state_of(parameter)[key] = value.to(where)
