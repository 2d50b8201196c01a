"""Figures in columns, as many as the terminal is wide: nothing is wrapped, nothing cut.

    for line in fitting([all_columns, fewer_columns], width=80): print(line)

Knows text and widths; which columns matter more is the caller's to say.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
UNBOUNDED = 1000
"""Characters in a line of a file or a log, which has no edge."""


@dataclass(frozen=True)
class Column:
    """Cells below a heading; a line break in the heading makes it two lines high."""

    heading: str
    cells: Sequence[str]
    left: bool = False
    """Whether cells stand to the left, as words do; figures stand to the right."""

    @property
    def width(self) -> int:
        return max(len(text) for text in (*self.heading.split("\n"), *self.cells))

    def placed(self, text: str) -> str:
        return text.ljust(self.width) if self.left else text.rjust(self.width)


def terminal_width() -> int:
    """Characters in a line: of the terminal, or as COLUMNS says."""
    return shutil.get_terminal_size((UNBOUNDED, 0)).columns


def fitting(choices: Sequence[Sequence[Column]], width: int) -> list[str]:
    """The lines of the first choice that fits. If none does, those of the first that fits with the
    cells of its first column on lines of their own, or else of the last."""
    lines: list[str] = []
    for lay_out in (_beside, _above):
        for columns in choices:
            lines = lay_out(columns)
            if max(map(len, lines)) <= width:
                return lines
    return lines


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ()
) -> None:
    """Print rows below their headings; columns of `words` stand to the left. What a plan prints,
    which is over before the library of the other tables is imported."""
    cells = zip(*rows, strict=True) if rows else [()] * len(headings)
    pairs = zip(headings, cells, strict=True)
    columns = [Column(heading, under, heading in words) for heading, under in pairs]
    print("\n".join(fitting([columns], terminal_width())))


def _beside(columns: Sequence[Column]) -> list[str]:
    return [line for row in _rows(columns) for line in row]


def _above(columns: Sequence[Column]) -> list[str]:
    names, *figures = columns
    heading, *rows = _rows(figures)
    below = zip(names.cells, rows, strict=True)
    return [
        *(2 * GAP + line for line in heading),
        *(line for name, row in below for line in (name, *(2 * GAP + part for part in row))),
    ]


def _rows(columns: Sequence[Column]) -> list[list[str]]:
    """The lines of the heading, then of each row."""
    high = max(column.heading.count("\n") for column in columns) + 1
    headings = [column.heading.split("\n") for column in columns]
    padded = [[""] * (high - len(parts)) + parts for parts in headings]
    heading = [_joined(columns, texts) for texts in zip(*padded, strict=True)]
    cells = zip(*(column.cells for column in columns), strict=True)
    return [heading, *([_joined(columns, texts)] for texts in cells)]


def _joined(columns: Sequence[Column], texts: Sequence[str]) -> str:
    return GAP.join(c.placed(text) for c, text in zip(columns, texts, strict=True)).rstrip()
