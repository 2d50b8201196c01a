"""Adapters: small networks of two layers with a narrow one between, beside a frozen model.

    a(x) = U f(D x + c) + e,      D [R, d] uniform in +-1/sqrt(d),  U [d, R], c and e zero

so that the model starts as it was. A method says where they stand (`Place`); what they cost is
here, what is done to a model in `actions/bottleneck.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import chosen, held, layers_of, rank_of, reached, roles_of, scale_of
from tutelage.plan.memory import Tuning

DEFAULT_RANK = 64


class Bottlenecks(Frozen):
    """None means a default, which `resolve` puts in."""

    rank: int | None = None
    """R, the narrow layer's width; 64, or the model's if that is less."""
    layers: tuple[int, ...] | None = None
    """Layers that get adapters, from 0; None is all."""


@dataclass(frozen=True)
class Place:
    """Where adapters stand: behind the linear maps of `roles`, whose output they read, or with
    `around` beside the whole network that such a map ends, whose input they read."""

    roles: tuple[str, ...]
    activation: str
    around: bool = False


def _own_roles(settings: Any) -> tuple[str, ...] | None:
    return None


def _unscaled(settings: Any) -> float:
    return 1.0


@dataclass(frozen=True)
class Family:
    """Adapters that stand at `place`; `roles` and `scale` read what the settings say of them, if
    anything."""

    kind: str
    settings: type[Bottlenecks]
    place: Place
    roles: Callable[[Any], tuple[str, ...] | None] = _own_roles
    scale: Callable[[Any], float] = _unscaled

    def found(self, weights: Sequence[Weight], given: Bottlenecks) -> list[Weight]:
        """The linear maps they belong to."""
        return chosen(weights, self.roles(given) or self.place.roles, given.layers)

    def resolve(self, given: Bottlenecks, weights: Sequence[Weight], shape: Shape) -> Bottlenecks:
        """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a
        layer it has not, or a rank or a scale that is none."""
        scale_of(self.scale(given), 1.0, "scale")
        own: dict[str, Any] = {"layers": layers_of(given.layers, weights)}
        where = roles_of(self.roles(given), weights, self.place.roles)
        if "roles" in self.settings.model_fields:
            own["roles"] = where
        found = held(chosen(weights, where, own["layers"]), weights, where, own["layers"])
        width = min(w.shape[0] for w in found)
        return given.model_copy(update={**own, "rank": rank_of(given.rank, DEFAULT_RANK, width)})

    def count(self, weights: Sequence[Weight], given: Bottlenecks) -> int:
        """sum over adapters of 2 R d + R + d."""
        rank = given.rank or 0
        return sum(2 * rank * w.shape[0] + rank + w.shape[0] for w in self.found(weights, given))

    def cost(self, weights: Sequence[Weight], given: Bottlenecks) -> Tuning:
        """Kept are what each adapter reads, and its narrow layer before and after f."""
        where, trained = self.found(weights, given), self.count(weights, given)
        rank, around = 2 * (given.rank or 0), self.place.around
        wide = {w.role: rank + (0 if around else w.shape[0]) for w in where}
        tuning = Tuning(
            trained=trained,
            roles=("mlp.up",) if around else (),
            beside=tuple(wide.items()),
            work=3 * trained,
        )
        return reached(tuning, weights, where)

    def actions(self) -> Actions:
        """What they do to a model, which needs PyTorch."""
        from tutelage.peft.actions.bottleneck import actions_of

        return actions_of(self)

    def method(self, name: str, learning_rate: float) -> Method:
        """The method of this name."""
        return Method(
            name=name, settings=self.settings, learning_rate=learning_rate, resolve=self.resolve,
            count=self.count, cost=self.cost, actions=self.actions, peft_type=self.kind,
            theirs=False,
        )  # fmt: skip
