"""Staying near where training began, against forgetting.

    pull          w -= lr lambda (w - w0) before each update        L2-SP
    interpolate   w = w0 + alpha (w - w0) once, at the end           WiSE-FT

Sources: Li, Grandvalet and Davoine 2018, arXiv:1802.01483, section 3.1 (L2-SP); Wortsman et al.
2022, arXiv:2109.01903, section 3 (WiSE-FT). In the former the penalty lambda/2 |w - w0|^2 is part
of the loss; here its gradient is kept apart from Adam's moments, as weight decay is in AdamW
(Loshchilov and Hutter 2019, arXiv:1711.05101, section 2), so that how strong it is does not depend
on the size of a weight's gradients. With w0 = 0 it is AdamW's decay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tutelage.errors import ConfigError
from tutelage.models.headed import TASK
from tutelage.peft._method import Method
from tutelage.train.optimizer import Optimizers

BYTES = 4
"""Of what a trained number was, which is kept."""


def kept(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What trained parameters are before training."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


class Pulled(Optimizers):
    """Optimizers whose parameters are pulled towards their `start` with the strength lambda."""

    def __init__(
        self, parts: Sequence[torch.optim.Optimizer], start: Mapping[nn.Parameter, Tensor],
        strength: float,
    ) -> None:  # fmt: skip
        super().__init__(parts)
        self.start, self.strength = start, strength

    @torch.no_grad()
    def step(self) -> None:
        """lr lambda above 1 would throw a weight beyond its start, and is 1."""
        for group in self.param_groups:
            share = min(1.0, group["lr"] * self.strength)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.lerp_(self.start[parameter], share)
        super().step()


def pulled(
    optimizer: Optimizers, parameters: Mapping[str, nn.Parameter], start: Mapping[str, Tensor],
    strength: float,
) -> Optimizers:  # fmt: skip
    """The optimizer with the pull, or as it is for a strength of 0."""
    if not strength:
        return optimizer
    return Pulled(optimizer.parts, {parameters[n]: value for n, value in start.items()}, strength)


def refuse_interpolation(method: Method, share: float) -> None:
    """Raises ConfigError for a method whose weights do not lie on a line between start and end."""
    if share < 1 and not method.on_a_line:
        raise ConfigError(
            f"what {method.name} trains is no change of weights that a share of could be taken",
            field="--interpolate", got=share, expected="1, or another --method",
            hint="full, last-layers, roles, embeddings, norms, bitfit, lora, qlora, vera or ia3",
        )  # fmt: skip


@torch.no_grad()
def interpolate(
    method: Method, parameters: Mapping[str, nn.Parameter], start: Mapping[str, Tensor],
    share: float,
) -> None:  # fmt: skip
    """Leave `share` of what training did to the weights. A task's head, which was nothing before,
    stays as it was learned."""
    for name, parameter in parameters.items():
        if name.endswith(method.on_a_line) and not name.startswith(f"{TASK}."):
            parameter.copy_(start[name].lerp(parameter, share))
