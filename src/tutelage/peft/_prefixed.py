"""Keys and values learned in the place of those that a layer makes of virtual tokens.

    y'[p] = made[i]     at the place p of virtual token i,      y' = y at all others

A key is kept as it is attended to, rotated. The layer rotates it behind this, so that it is turned
back first: R^-1(p) made[i].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.attention import Attention, FusedAttention
from tutelage.nn.linear import Linear
from tutelage.peft._virtual import Seen
from tutelage.peft._wrapped import Beside, Wrapped

Part = tuple[Tensor | None, slice, bool]
"""Columns of what a module gives, None being all; first and last number of what is learned of a
token; whether that is a key, to be turned back."""


@dataclass(frozen=True)
class Replacing:
    """`angles` are the rotation's cosine and sine of every place, None where there is none; heads
    are `width` wide."""

    seen: Seen
    parts: Sequence[Part]
    width: int
    angles: tuple[Tensor, Tensor] | None

    def __call__(self, y: Float[Tensor, "N O"]) -> Float[Tensor, "N O"]:
        if not len(self.seen.places):
            return y
        for columns, numbers, turned in self.parts:
            made = self.seen.made[:, numbers]
            if turned and self.angles is not None:
                made = self._unturned(made, self.angles)
            rows = made[self.seen.which].to(y.dtype)
            places = self.seen.places
            where = (places,) if columns is None else (places[:, None], columns[None])
            y = y.index_put(where, rows)
        return y

    def _unturned(
        self, keys: Float[Tensor, "P W"], angles: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "P W"]:
        """What the rotation of its place turns into these keys."""
        cosine, sine = angles
        first, second = keys.view(len(keys), -1, self.width).chunk(2, dim=-1)
        back = torch.cat([second, -first], dim=-1)
        heads = keys.view(len(keys), -1, self.width) * cosine + back * sine
        return (heads / (cosine.square() + sine.square())).view(keys.shape)


class Prefixed(Wrapped):
    """A frozen projection to keys or values, or to both."""

    def __init__(self, base: Linear, replacing: Replacing) -> None:
        super().__init__(base)
        self.replacing = replacing

    def forward(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        return self.replacing(self.base(x))


class PrefixedNorm(Beside):
    """A frozen norm of keys: behind it they are what the rotation turns."""

    def __init__(self, base: nn.Module, replacing: Replacing) -> None:
        super().__init__(base)
        self.replacing = replacing

    def forward(self, x: Float[Tensor, "N K D"]) -> Float[Tensor, "N K D"]:
        y: Tensor = self.base(x)
        return self.replacing(y.flatten(1)).view(y.shape)


def replace(
    attention: Attention, name: str, both: tuple[slice, slice], seen: Seen,
    angles: tuple[Tensor, Tensor] | None,
) -> None:  # fmt: skip
    """Let the projection `name` of a layer give what is learned: of `both`, its keys and its
    values, what it projects to."""
    linear = getattr(attention, name)
    assert isinstance(linear, Linear)
    key, value = both
    parts: list[Part] = [(None, key, True) if name == "k" else (None, value, False)]
    if isinstance(attention, FusedAttention):
        columns = attention.rows()
        parts = [(columns[1], key, True), (columns[2], value, False)]
    turn = angles if attention.rotates else None
    replacing = Replacing(seen, parts, attention.heads.width, turn)
    if name == "k" and attention.k_norm is not None:
        attention.k_norm = PrefixedNorm(attention.k_norm, replacing)
    else:
        setattr(attention, name, Prefixed(linear, replacing))
