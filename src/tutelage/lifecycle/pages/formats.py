"""How a recorded number is written for people: rounding and units, nothing else.

GB = 1e9 bytes. Knows nothing of records or of HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NOTHING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """`0.312`; an en dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval(measured: Any) -> str:
    """`0.281 to 0.343`, the 95% interval of a measured value."""
    return f"{number(measured.low)} to {number(measured.high)}"


def count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def whole(value: float | None) -> str:
    """`12,345`."""
    return NOTHING if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """`41.5%`."""
    return NOTHING if value is None else f"{value:.1%}"


def flops(value: float) -> str:
    """`1.25e+15 FLOPs`."""
    return f"{value:.3g} FLOPs"


def probability(value: float) -> str:
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def size(value: float | None) -> str:
    """Bytes to three digits, in GB, MB or kB."""
    if value is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= scale:
            scaled = value / scale
            digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
            return f"{scaled:,.{digits}f} {unit}"
    return f"{value:g} B"


def duration(value: float | None) -> str:
    """Seconds as `0.42 s`, `12.3 s`, `3 min 05 s` or `2 h 05 min`."""
    if value is None:
        return NOTHING
    if value < 10:
        return f"{value:.2f} s" if value else "0 s"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes:02d} min"


def plain(value: Any) -> str:
    """A setting as a reader would type it: lists by commas, small numbers as they are."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{label(key)} {plain(each)}" for key, each in value.items()) or NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value) or NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)


def choice(tried: Any) -> str:
    """`4 examples: 0.209 in 12.3 s`; without a value, why there is none."""
    if tried.value is None:
        return f"{tried.shots} examples: {tried.reason}"
    return f"{tried.shots} examples: {number(tried.value)} in {duration(tried.seconds)}"


def label(name: str) -> str:
    """`rows_used` as `rows used`."""
    return name.replace("_", " ")


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "signed": signed,
    "whole": whole,
    "share": share,
    "flops": flops,
    "interval": interval,
    "count": count,
    "probability": probability,
    "size": size,
    "duration": duration,
    "plain": plain,
    "choice": choice,
    "label": label,
}
