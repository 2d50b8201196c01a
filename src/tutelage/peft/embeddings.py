"""Embeddings alone are trained: the tables of tokens, positions and types.

A tied head is the token table and moves with it. Trained parameters: the tables'. For texts whose
words the model knows little of, as another language's; Artetxe et al. 2020, arXiv:1910.11856,
section 2.1, learn a new language's embeddings for frozen blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.config import Frozen
from tutelage.models.spec import Shape, Weight
from tutelage.peft._selective import selective, some

ROLES = ("embed", "embed.position", "embed.type")


class Settings(Frozen):
    """There are none."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    some(selected(weights, settings), "table")
    return settings


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The tables."""
    return [weight for weight in weights if weight.role in ROLES]


METHOD = selective("embeddings", Settings, 2e-4, resolve, selected)
