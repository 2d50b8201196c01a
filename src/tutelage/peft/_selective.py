"""Ways of tuning that train some of the model's own weights and leave the others as they are.

A method says which (`selected`); what they cost is here, what is done to them in
`actions/selective.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight, is_linear
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import reached
from tutelage.plan.memory import Tuning

Selected = Callable[[Sequence[Weight], Any], list[Weight]]


def selective(
    name: str,
    settings: type[Frozen],
    learning_rate: float,
    resolve: Callable[[Any, Sequence[Weight], Shape], Any],
    selected: Selected,
) -> Method:
    """The method that trains the `selected` weights, written in a layout of our own: the changed
    weights as files of the model have them."""
    kind = name.upper().replace("-", "_")

    def actions() -> Actions:
        from tutelage.peft.actions.selective import actions_of

        return actions_of(kind, settings, selected)

    return Method(
        name=name,
        settings=settings,
        learning_rate=learning_rate,
        resolve=resolve,
        count=lambda weights, chosen: sum(weight.count for weight in selected(weights, chosen)),
        cost=lambda weights, chosen: cost(weights, selected(weights, chosen)),
        actions=actions,
        peft_type=kind,
        theirs=False,
        own=lambda chosen, weights: selected(weights, chosen),
        on_a_line=("",),
    )


def some(found: list[Weight], what: str) -> list[Weight]:
    """These, if there are any. Raises ConfigError."""
    if not found:
        raise ConfigError(
            f"the model has no {what} to train", field="--method", hint="choose another method"
        )
    return found


def cost(weights: Sequence[Weight], found: Sequence[Weight]) -> Tuning:
    roles = {weight.role for weight in found if is_linear(weight)}
    tied = not any(weight.role == "head" for weight in weights)
    inside = [w for w in found if len(w.shape) == 2 and w.role not in ("embed", "head")]
    tuning = Tuning(
        trained=sum(weight.count for weight in found),
        roles=tuple(sorted(roles)),
        own=True,
        head=any(w.role == "head" or (w.role == "embed" and tied) for w in found),
        work=sum(weight.count for weight in inside),
    )
    return reached(tuning, weights, found)


def with_biases(weights: Sequence[Weight]) -> list[Weight]:
    """The weights, and a bias for every linear map of the blocks that has none."""
    there = {weight.path for weight in weights}
    found = list(weights)
    for weight in weights:
        path, hf = (text.removesuffix("weight") + "bias" for text in (weight.path, weight.hf_name))
        if is_linear(weight) and weight.path.endswith(".weight") and path not in there:
            found.append(Weight(path, hf, weight.shape[:1], weight.role, weight.layer))
    return found
