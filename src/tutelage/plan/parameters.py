"""Parameters counted by part, from the list of a model's weights; no tensor is made.

What a weight list is, an architecture says (`models/`); here it is only read, through `Entry`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tutelage.models.spec import CONSTANT, is_linear


class Entry(Protocol):
    """One stored weight, as `models.spec.Weight` describes it."""

    @property
    def hf_name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def role(self) -> str: ...
    @property
    def layer(self) -> int | None: ...
    @property
    def idle(self) -> bool: ...


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a stack that arithmetic needs, read off the shapes of its weights.

    `query`, `key`, `value` and `hidden` are widths of all heads and of the feed-forward network.
    `centred` norms are LayerNorms, others divide by the root mean square alone. Positions are
    `rotated` where no table holds them.
    """

    parameters: int
    vocabulary: int
    width: int
    layers: int
    query: int
    key: int
    value: int
    hidden: int
    gated: bool
    tied: bool
    centred: bool
    rotated: bool


def size(entry: Entry) -> int:
    """Numbers in one weight."""
    return math.prod(entry.shape)


def total(entries: Iterable[Entry]) -> int:
    """Parameters; constants, which no training changes, are none."""
    return sum(size(entry) for entry in entries if entry.role != CONSTANT)


def active(entries: Iterable[Entry]) -> int:
    """Parameters that one token meets: of the experts of a sparse layer as many as it uses, with
    their router, and all that tokens share.

    Source: Jiang et al. 2024, arXiv:2401.04088, section 2.1, "active parameter count".
    """
    return total(entry for entry in entries if not entry.idle)


def products(entries: Iterable[Entry]) -> list[Entry]:
    """The matrices of the blocks that a token is multiplied with."""
    return [e for e in entries if e.layer is not None and len(e.shape) == 2 and not e.idle]


def by_part(entries: Iterable[Entry]) -> dict[str, int]:
    """Parameters of each role, in the order of the forward pass; the values sum to the total."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.role != CONSTANT:
            counts[entry.role] = counts.get(entry.role, 0) + size(entry)
    return counts


def dimensions(entries: Sequence[Entry]) -> Dimensions:
    """Read the sizes off the shapes. Raises ValueError if the list has no token table."""
    table = next((e for e in entries if e.role == "embed" and len(e.shape) == 2), None)
    if table is None:
        raise ValueError("a list of weights without a token table (role 'embed')")
    widths = {e.role: e.shape[0] for e in reversed(entries) if len(e.shape) == 2}
    joint = widths.get("attn.qkv", 0) // 3
    return Dimensions(
        parameters=total(entries),
        vocabulary=table.shape[0],
        width=table.shape[1],
        layers=len({e.layer for e in entries if e.layer is not None}),
        query=widths.get("attn.q", joint),
        key=widths.get("attn.k", joint),
        value=widths.get("attn.v", joint),
        hidden=widths.get("mlp.up", 0),
        gated="mlp.gate" in widths,
        tied="head" not in widths,
        centred=any(e.role == "norm" and e.hf_name.endswith((".bias", ".beta")) for e in entries),
        rotated=not any(e.role in ("embed.position", "embed.relative") for e in entries),
    )


def linear_roles(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The roles of the matrices inside the blocks, in the order of the forward pass."""
    return tuple(dict.fromkeys(e.role for e in entries if is_linear(e)))


def lora_parameters(entries: Iterable[Entry], rank: int, roles: Collection[str]) -> int:
    """Sum of r (in + out) over the linear weights of these roles.

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.2.
    """
    chosen = (e for e in entries if e.role in roles and len(e.shape) == 2)
    return sum(rank * (e.shape[0] + e.shape[1]) for e in chosen)
