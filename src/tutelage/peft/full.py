"""Full tuning: every weight is trained, kept as a float32 master."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.checkpoints.build import hf_state
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.save import write_model
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Method
from tutelage.peft._pace import Pace, Paced, check, paces
from tutelage.plan.memory import Tuning, whole


class Settings(Paced):
    """At which pace layers learn."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for a pace that is none."""
    check(settings)
    return settings


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Make float32 masters of all weights; activations stay in the model's compute type."""
    model.float()
    model.requires_grad_(True)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    return sum(weight.count for weight in weights if weight.trained)


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    return whole(weights)


def own(settings: Settings, weights: Sequence[Weight]) -> list[Weight]:
    """All that training can change."""
    return [weight for weight in weights if weight.trained]


def own_paces(settings: Settings, weights: Sequence[Weight]) -> dict[str, Pace]:
    return paces(settings, weights, own(settings, weights))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """An ordinary model folder, in the type the tuned model was used in: what was measured is what
    is stored, at half the bytes of the masters where that is a 16-bit type."""
    dtype = str(model.compute).removeprefix("torch.")
    write_model(hf_state(model, checkpoint), checkpoint, folder, dtype=dtype)


METHOD = Method(
    name="full",
    settings=Settings,
    learning_rate=1.5e-4,
    resolve=resolve,
    attach=attach,
    count=count,
    cost=cost,
    write=write,
    own=own,
    on_a_line=("",),
    paces=own_paces,
)
