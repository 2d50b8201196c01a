"""(IA)3: activations rescaled, each channel by a number of its own, all 1 at the start.

    y = l * (W x + b)     keys and values         y = W (l * x) + b     the way out of the network

Trained parameters: the sum of the outputs, or of the inputs where those are rescaled.
Source: Liu et al. 2022, arXiv:2205.05638, section 3.3. A fused projection's queries are rescaled
too, as in PEFT.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import chosen, held, layers_of, reached, roles_of
from tutelage.plan.memory import Tuning

DEFAULT_ROLES = ("attn.k", "attn.v", "attn.qkv", "cross.k", "cross.v", "mlp.down")
OF_INPUTS = ("mlp.down",)
"""Roles of which the input is rescaled."""


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    roles: tuple[str, ...] | None = None
    """Linears that are rescaled; by default keys, values, and the network's way out."""
    layers: tuple[int, ...] | None = None
    """Layers in which they are, from 0; None is all."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a layer it
    has not."""
    roles = roles_of(settings.roles, weights, DEFAULT_ROLES)
    found = Settings(roles=roles, layers=layers_of(settings.layers, weights))
    held(targets(weights, found), weights, roles, found.layers)
    return found


def targets(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The matrices that are rescaled."""
    assert settings.roles is not None
    return chosen(weights, settings.roles, settings.layers)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over targets of out, or of in where inputs are rescaled."""
    return sum(w.shape[1 if w.role in OF_INPUTS else 0] for w in targets(weights, settings))


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """What is rescaled is kept, for the gradient of l."""
    found = targets(weights, settings)
    tuning = Tuning(
        trained=count(weights, settings),
        roles=tuple(dict.fromkeys(w.role for w in found if w.role in OF_INPUTS)),
        beside=tuple({w.role: w.shape[0] for w in found if w.role not in OF_INPUTS}.items()),
    )
    return reached(tuning, weights, found)


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.ia3 import ACTIONS

    return ACTIONS


METHOD = Method(
    name="ia3",
    settings=Settings,
    learning_rate=5e-3,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type="IA3",
    on_a_line=("ia3_l",),
)
