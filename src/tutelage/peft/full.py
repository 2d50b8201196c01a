"""Full tuning: every weight is trained, kept as a float32 master."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._pace import Pace, Paced, check, paces
from tutelage.plan.memory import Tuning, whole


class Settings(Paced):
    """At which pace layers learn."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for a pace that is none."""
    check(settings)
    return settings


def count(weights: Sequence[Weight], settings: Settings) -> int:
    return sum(weight.count for weight in weights if weight.trained)


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    return whole(weights)


def own(settings: Settings, weights: Sequence[Weight]) -> list[Weight]:
    """All that training can change."""
    return [weight for weight in weights if weight.trained]


def own_paces(settings: Settings, weights: Sequence[Weight]) -> dict[str, Pace]:
    return paces(settings, weights, own(settings, weights))


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.full import ACTIONS

    return ACTIONS


METHOD = Method(
    name="full",
    settings=Settings,
    learning_rate=1.5e-4,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    own=own,
    on_a_line=("",),
    paces=own_paces,
)
