"""QLoRA: LoRA on a base that is held in 8 or 4 bits.

    y = W_q x + s B A x,      W_q nearest to W in the form of `nn/quantized.py`

The adapter is made for W_q and fits no other: it is opened on W_q, and merged into W_q made wide,
never into W. Trained parameters: LoRA's.
Source: Dettmers et al. 2023, arXiv:2305.14314, eq. 5. Their 4-bit numbers stand at a normal
distribution's quantiles (NF4); ours, evenly, were as near at the same bits (docs/adaptation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight, is_linear
from tutelage.nn.form import GROUP, WIDEST_GROUP, Bits, Form
from tutelage.peft import lora
from tutelage.peft._method import Actions
from tutelage.plan.memory import Tuning


class Settings(lora.Settings):
    """LoRA's, and how the base is held."""

    bits: Bits = 4
    """Of a weight of the base, its scale not counted."""
    group: int = GROUP
    """Numbers in a row that share a scale."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> lora.Settings:
    """As LoRA's. Raises ConfigError too for a group that is none."""
    if not 2 <= settings.group <= WIDEST_GROUP or settings.group % 2:
        raise ConfigError(
            "numbers that share a scale come in even groups",
            field="--group",
            got=settings.group,
            expected=f"an even number, 2 to {WIDEST_GROUP}",
        )
    return lora.resolve(settings, weights, shape)


def form(settings: Settings) -> Form:
    """How the base is held."""
    return Form(settings.bits, settings.group)


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """LoRA's, with the blocks' matrices in few bits."""
    inside = [weight for weight in weights if is_linear(weight)]
    held = form(settings)
    bytes_ = sum(held.bytes_of(weight.shape[0], weight.shape[1]) for weight in inside)
    return replace(
        lora.cost(weights, settings), narrow=(sum(weight.count for weight in inside), bytes_)
    )


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.qlora import ACTIONS

    return ACTIONS


METHOD = replace(
    lora.METHOD,
    name="qlora",
    settings=Settings,
    resolve=resolve,
    cost=cost,
    actions=actions,
    peft_type="QLORA",
    form=form,
)
