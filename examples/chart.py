"""A line chart as SVG: numbers in, text out, legible on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#A6761D")
"""Okabe and Ito's palette: told apart with any colour vision."""
GREY = "#8a8f98"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 380, 64, 48, 16, 190


@dataclass(frozen=True)
class Line:
    """Points in the order they are joined; `marks` draws them apart instead."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: bool = False
    dashed: bool = False


def chart(lines: Sequence[Line], x: str, y: str, logarithmic: bool = False) -> str:
    """All lines over one pair of axes; `logarithmic` for the horizontal one."""
    points = [point for line in lines for point in line.points]
    across = _axis([p[0] for p in points], LEFT, WIDTH - RIGHT, logarithmic)
    up = _axis([p[1] for p in points], HEIGHT - BOTTOM, TOP, False)
    parts = [*_grid(across, up, x, y)]
    for number, line in enumerate(lines):
        parts += _drawn(line, COLOURS[number % len(COLOURS)], number, across, up)
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{GREY}">\n{inside}\n</svg>\n'
    )


@dataclass(frozen=True)
class Axis:
    place: Callable[[float], float]
    ticks: Sequence[float]


def _axis(values: Sequence[float], first: float, last: float, logarithmic: bool) -> Axis:
    low, high = min(values), max(values)
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**p for p in powers for m in (1, 3) if low <= m * 10.0**p <= high]
        low, high = math.log10(low), math.log10(high)
    else:
        step = 10.0 ** math.floor(math.log10((high - low or 1) / 2))
        step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
        ticks = [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    room = (high - low) or 1.0

    def place(value: float) -> float:
        at = math.log10(value) if logarithmic else value
        return first + (at - low + 0.03 * room) / (1.06 * room) * (last - first)

    return Axis(place, ticks)


def _grid(across: Axis, up: Axis, x: str, y: str) -> list[str]:
    parts = []
    for tick in across.ticks:
        at = across.place(tick)
        parts.append(_rule(at, TOP, at, HEIGHT - BOTTOM))
        parts.append(_text(at, HEIGHT - BOTTOM + 16, f"{tick:.3g}", "middle"))
    for tick in up.ticks:
        at = up.place(tick)
        parts.append(_rule(LEFT, at, WIDTH - RIGHT, at))
        parts.append(_text(LEFT - 6, at + 4, f"{tick:.3g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x, "middle"))
    turned = f'transform="rotate(-90 14 {HEIGHT / 2})"'
    parts.append(_text(14, HEIGHT / 2, y, "middle", turned))
    return parts


def _drawn(line: Line, colour: str, number: int, across: Axis, up: Axis) -> list[str]:
    placed = [(across.place(a), up.place(b)) for a, b in line.points]
    at = TOP + 14 + 18 * number
    parts = [
        f'<rect x="{WIDTH - RIGHT + 12}" y="{at - 9}" width="10" height="10" fill="{colour}"/>',
        _text(WIDTH - RIGHT + 28, at, line.name, "start"),
    ]
    if line.marks:
        return parts + [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in placed
        ]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in placed)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    shape = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    return [*parts, shape]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{GREY}" stroke-opacity="0.25"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
