"""Prefix tuning: keys and values learned for virtual tokens, in every layer.

    attention over [K_l; k], [V_l; v],      K_l and V_l [P, W] of layer l, W the width of its keys

At the start they are those of random words, of a text, or random numbers as large. With `hidden` a
network makes them while they are learned, (K, V) = W2 tanh(W1 u + b1) + b2, u [P, W] random, and
is dropped after training; without it this is P-tuning v2. Trained parameters: 2 L P W, or
P W + W H + H + 2 L W (H + 1).
Source: Li and Liang 2021, arXiv:2101.00190, sections 4.2 and 4.3; Liu et al. 2022,
arXiv:2110.07602, section 3.

Virtual tokens stand before every row, of an encoder-decoder before what the decoder says, and what
a layer projects of them to keys and values is replaced (`_prefixed.py`), keys behind their norm
where they have one.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import chosen
from tutelage.peft._tokens import Started, hidden_of, resolved, worded
from tutelage.plan.memory import Tuning

KIND = "PREFIX_TUNING"
SEPARATE, FUSED = ("attn.k", "attn.v"), ("attn.qkv",)


class Settings(Started):
    """How many virtual tokens, the words whose keys and values they begin as, and whether a network
    makes what is learned of them."""

    hidden: int | None = None
    """H, the width of the network; None is without one."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Raises ConfigError for virtual tokens that leave no room, and for attention whose keys cannot
    be replaced."""
    settings = resolved(settings, weights, shape)
    found = targets(weights)
    both = {weight.role for weight in found} in ({*SEPARATE}, {*FUSED})  # else queries are keys
    if not both or len({weight.shape[0] for weight in found}) > 1:
        raise ConfigError(
            "keys and values of this model's attention cannot be replaced",
            field="--method",
            got="attention of another kind",
            expected="projections to keys and values alike in all layers",
            hint="choose another method",
        )
    if settings.hidden is not None:
        hidden_of(settings.hidden, 0)
        if settings.text is not None:
            raise ConfigError(
                "a network makes keys and values out of what it learned, not out of words",
                field="--text", got=settings.text, expected="no text beside --hidden",
            )  # fmt: skip
    return settings


def targets(weights: Sequence[Weight]) -> list[Weight]:
    """The matrices that project to keys and values, of two stacks those of the one that attends to
    the other."""
    found = chosen(weights, FUSED) or chosen(weights, SEPARATE)
    crossed = {weight.layer for weight in weights if weight.role.startswith("cross.")}
    return [weight for weight in found if not crossed or weight.layer in crossed]


def sizes(weights: Sequence[Weight]) -> tuple[int, int]:
    """Layers, and the width of their keys."""
    found = targets(weights)
    fused = found[0].role in FUSED
    return len({weight.layer for weight in found}), found[0].shape[0] // (3 if fused else 1)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """2 L P W, or with a network P W + W H + H + 2 L W (H + 1)."""
    layers, width = sizes(weights)
    tokens, hidden = settings.tokens or 0, settings.hidden
    if hidden is None:
        return 2 * layers * tokens * width
    return tokens * width + (width + 1) * hidden + (hidden + 1) * 2 * layers * width


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """Gradients pass all layers but the first; virtual tokens are counted with the rows."""
    return Tuning(trained=count(weights, settings))


def virtual(settings: Settings) -> int:
    return settings.tokens or 0


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.prefix_tuning import ACTIONS

    return ACTIONS


METHOD = Method(
    name="prefix-tuning",
    settings=Settings,
    learning_rate=1e-2,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type=KIND,
    virtual=virtual,
    deep=True,
    worded=worded,
)
