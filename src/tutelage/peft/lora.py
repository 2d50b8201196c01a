"""LoRA: a low-rank update beside frozen linear maps.

    y = W x + s B A x,      A [R, in] uniform in +-1/sqrt(in),  B [out, R] zero
    s = alpha / R, or alpha / sqrt(R) if rank-stabilized

so that the model starts as it was. Queries, keys and values of a fused projection may get updates
each of their own. Of the token table A [R, V] begins as zero and B [C, R] normal, as in the paper's
code; a head tied to the table stays as it was. One of its own may get an update (`head`).
Trained parameters: the sum of R (in + out) over what is updated.
Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; A's initialization as in their code (Kaiming
uniform with a = sqrt 5), where the paper says Gaussian. Kalajdzievski 2023, arXiv:2312.03732,
theorem 3.2, for sqrt(R).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight, is_linear
from tutelage.peft._method import Actions, Method
from tutelage.peft._targets import (
    flag_text,
    held,
    layers_of,
    rank_of,
    reached,
    roles_of,
    scale_of,
    share_of,
)
from tutelage.plan.memory import Tuning

DEFAULT_RANK = 16
DEFAULT_SCALE = 2.0
LABELS_RATE = 5e-4
"""As Hu et al. (table 9) for RoBERTa. At the rate that is good for answers in words a small encoder
comes to rest at one label for all."""
FUSED = "attn.qkv"
PARTS = ("attn.q", "attn.k", "attn.v")
"""Of a fused projection, in this order."""
TABLE, SCORES = "embed", "head"


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    rank: int | None = None
    """R; 16, or the narrowest width it updates if that is less."""
    alpha: float | None = None
    """The scale before it is divided; by default such that s = 2."""
    roles: tuple[str, ...] | None = None
    """What gets an update, as attn.q, embed or head; None is all linear maps inside the blocks."""
    layers: tuple[int, ...] | None = None
    """Layers that get one, from 0; None is all."""
    rslora: bool = False
    """Divide alpha by sqrt(R) instead of R."""
    dropout: float = 0.0
    """Share of A's inputs left out in training."""


@dataclass(frozen=True)
class Target:
    """A matrix [out, in] or table [V, C] that gets an update; with `parts` these of the three that
    a fused projection is made of, each one of its own."""

    weight: Weight
    parts: tuple[int, ...] = ()

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of every update."""
        rows, columns = self.weight.shape
        return [(rows // len(PARTS), columns) for _ in self.parts] or [(rows, columns)]

    @property
    def outputs(self) -> int:
        return sum(rows for rows, _ in self.shapes)


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a layer
    it has not, a rank, a scale or a share that is none."""
    tables = [TABLE] if shape.start is None else []  # an encoder-decoder's has two readers
    scores = [SCORES] if any(weight.role == SCORES for weight in weights) else []
    if SCORES in (settings.roles or ()) and settings.dropout:
        raise ConfigError(
            "the scores' update is part of their matrix, which has no inputs to drop",
            field=flag_text("dropout"), got=settings.dropout, expected=f"0 beside --role {SCORES}",
        )  # fmt: skip
    return resolve_with((*tables, *scores), settings, weights)


def resolve_with(more: tuple[str, ...], settings: Settings, weights: Sequence[Weight]) -> Settings:
    """Likewise; `more` are roles beyond linear maps and their parts."""
    fused = any(weight.role == FUSED for weight in weights)
    roles = roles_of(settings.roles, weights, also=(*(PARTS if fused else ()), *more))
    if fused and FUSED in roles and not set(PARTS).isdisjoint(roles):
        raise ConfigError(
            f"{FUSED} is the whole of which the others are parts", field=flag_text("role"),
            got=", ".join(roles), expected="the whole or its parts",
        )  # fmt: skip
    chosen = Settings(roles=roles, layers=layers_of(settings.layers, weights))
    found = held(targets(weights, chosen), weights, roles, chosen.layers)
    widths = [min(pair) for target in found for pair in target.shapes]
    rank = rank_of(settings.rank, DEFAULT_RANK, min(widths))
    usual = DEFAULT_SCALE * divisor(rank, settings.rslora)
    update = {
        **chosen.model_dump(include={"roles", "layers"}),
        "rank": rank,
        "alpha": scale_of(settings.alpha, usual),
        "dropout": share_of(settings.dropout),
    }
    return settings.model_copy(update=update)


def divisor(rank: int, rslora: bool) -> float:
    """What alpha is divided by."""
    return math.sqrt(rank) if rslora else rank


def targets(weights: Sequence[Weight], settings: Settings) -> list[Target]:
    """What gets an update, in the order of the forward pass."""
    roles, layers = settings.roles or (), settings.layers
    parts = tuple(at for at, role in enumerate(PARTS) if role in roles)
    found = []
    for weight in weights:
        if weight.role in (TABLE, SCORES) and weight.role in roles and len(weight.shape) == 2:
            found.append(Target(weight))
        if not is_linear(weight) or (layers is not None and weight.layer not in layers):
            continue
        if weight.role in roles:
            found.append(Target(weight))
        elif weight.role == FUSED and parts:
            found.append(Target(weight, parts))
    return found


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over updates of R (in + out)."""
    assert settings.rank is not None
    found = targets(weights, settings)
    return settings.rank * sum(sum(pair) for target in found for pair in target.shapes)


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    """A x is kept of every update, beside the inputs; looking rows up takes no products. Scores
    have a gradient as large as their matrix."""
    assert settings.rank is not None and settings.roles is not None
    found = targets(weights, settings)
    linear = [target for target in found if target.weight.role not in (TABLE, SCORES)]
    ranks = {each.weight.role: settings.rank * len(each.shapes) for each in linear}
    tuning = Tuning(
        trained=count(weights, settings),
        roles=tuple(ranks),
        beside=tuple(ranks.items()),
        head=SCORES in settings.roles,
        work=3 * settings.rank * sum(sum(pair) for each in linear for pair in each.shapes),
    )
    return reached(tuning, weights, [target.weight for target in found])


def actions() -> Actions:
    """What it does to a model, which needs PyTorch."""
    from tutelage.peft.actions.lora import ACTIONS

    return ACTIONS


METHOD = Method(
    name="lora",
    settings=Settings,
    learning_rate=2e-3,
    resolve=resolve,
    count=count,
    cost=cost,
    actions=actions,
    peft_type="LORA",
    on_a_line=("lora_b", "lora_embedding_b"),
    labels_rate=LABELS_RATE,
)
