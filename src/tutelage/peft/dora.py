"""DoRA: a low-rank update whose rows keep their direction, beside a length that is trained.

    y = m * (W x + s B A x) / |W + s B A|  + b,      lengths by row, m = |W| at the start

so that the model starts as it was. The lengths are constants to the gradient. Trained parameters:
LoRA's, and one for every output. Source: Liu et al. 2024, arXiv:2402.09353, eq. 5, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.models.spec import Shape, Weight
from tutelage.peft import lora
from tutelage.peft._method import Actions
from tutelage.peft.lora import Settings
from tutelage.plan.memory import Tuning


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """As LoRA's, but for linear maps alone."""
    return lora.resolve_with((), settings, weights)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over updates of R (in + out) + out."""
    lengths = sum(target.outputs for target in lora.targets(weights, settings))
    return lora.count(weights, settings) + lengths


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """LoRA's, and each output before it is scaled, which the gradient of m needs."""
    found = lora.cost(weights, settings)
    targets = lora.targets(weights, settings)
    outputs = {target.weight.role: target.weight.shape[0] for target in targets}
    return replace(
        found, trained=count(weights, settings), beside=(*found.beside, *outputs.items())
    )


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.dora import ACTIONS

    return ACTIONS


METHOD = replace(
    lora.METHOD,
    name="dora",
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type="DORA",
    on_a_line=(),
)
