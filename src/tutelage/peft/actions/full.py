"""Full tuning of a model, and the folder that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.checkpoints.build import hf_state
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.save import write_model
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft._method import Actions
from tutelage.peft.full import Settings


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Make float32 masters of all weights; activations stay in the model's compute type."""
    model.float()
    model.requires_grad_(True)


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """An ordinary model folder, in the type the tuned model was used in: what was measured is what
    is stored, at half the bytes of the masters where that is a 16-bit type."""
    dtype = str(model.compute).removeprefix("torch.")
    write_model(hf_state(model, checkpoint), checkpoint, folder, dtype=dtype)


ACTIONS = Actions(attach, write)
