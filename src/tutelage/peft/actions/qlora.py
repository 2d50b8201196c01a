"""QLoRA on a model whose matrices are held in few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft.actions import lora as lora_actions
from tutelage.peft.qlora import Settings, form


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """As LoRA's, on a model that was built in this form."""
    assert model.form == form(settings), "the base is built in the form of the method"
    lora_actions.attach(model, weights, settings, seed)


ACTIONS = replace(lora_actions.ACTIONS, attach=attach)
