"""In which few bits a weight is held, as plain data: plans count with it, without PyTorch.

The numbers themselves are in nn/quantized.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Bits = Literal[4, 8]
GROUP = 32
WIDEST_GROUP = 1024


@dataclass(frozen=True)
class Form:
    """How a weight is held: in so many bits, with a scale for each `group` of numbers in a row, and
    with a `minimum` of each group or evenly around zero."""

    bits: Bits
    group: int = GROUP
    minimum: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a form that is none."""
        if self.bits not in (4, 8):
            raise ValueError(f"{self.bits} bits")
        if not isinstance(self.group, int) or not 2 <= self.group <= WIDEST_GROUP or self.group % 2:
            raise ValueError(f"groups of {self.group}")
        if not isinstance(self.minimum, bool) or (self.minimum and self.bits != 4):
            raise ValueError(f"minimums with {self.bits} bits")

    def __str__(self) -> str:
        minimums = " with minimums" if self.minimum else ""
        return f"{self.bits} bits in groups of {self.group}{minimums}"

    def as_json(self) -> dict[str, Any]:
        """What `Form(**found)` makes again."""
        found: dict[str, Any] = {"bits": self.bits, "group": self.group}
        return {**found, "minimum": True} if self.minimum else found

    def bytes_of(self, rows: int, columns: int) -> int:
        """Of a matrix, its scales included; the last group of a row may be filled up."""
        groups = -(-columns // self.group)
        return rows * groups * (self.group * self.bits // 8 + (4 if self.minimum else 2))
