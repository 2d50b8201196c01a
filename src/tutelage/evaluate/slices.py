"""On which kinds of rows two systems differ: by right answer, by source, by length of the question.

A slice has rows enough to be compared; its p-values are corrected together, by Benjamini and
Hochberg, because many are looked at. Knows items of eval files alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tutelage.evaluate.intervals import Aggregate, Limits
from tutelage.evaluate.statistics import Comparison, benjamini_hochberg, compare

FEWEST = 10
"""Rows of a slice."""
MOST = 20
"""Values of a field that still make slices: more are no kinds but names."""


@dataclass(frozen=True)
class Slice:
    """Rows with one `value` of `by`, as places in the list of items."""

    by: str
    value: str
    places: tuple[int, ...]


def slices(items: Sequence[Mapping[str, Any]]) -> list[Slice]:
    """All slices of items that have enough rows."""
    columns = {
        "reference": [str(item.get("reference", "")).strip() for item in items],
        "source": [str(item.get("source") or "") for item in items],
        "question": _by_length(items),
    }
    found = []
    for by, values in columns.items():
        kinds = list(dict.fromkeys(values))
        if not 2 <= len(kinds) <= MOST:
            continue
        for kind in kinds:
            places = tuple(place for place, value in enumerate(values) if value == kind)
            if len(places) >= FEWEST and kind:
                found.append(Slice(by, kind, places))
    return found


def compare_slices(
    items: Sequence[Mapping[str, Any]],
    a: np.ndarray,
    b: np.ndarray,
    aggregate: Aggregate,
    seed: int = 0,
    limits: Limits | None = (0.0, 1.0),
) -> list[tuple[Slice, Comparison]]:
    """Each slice compared, p-values corrected; the surest difference first."""
    chosen = slices(items)
    found = [
        compare(a[list(one.places)], b[list(one.places)], aggregate, seed, limits=limits)
        for one in chosen
    ]
    adjusted = benjamini_hochberg([one.p_value for one in found])
    pairs = [
        (one, replace(comparison, p_value=p))
        for one, comparison, p in zip(chosen, found, adjusted, strict=True)
    ]
    return sorted(pairs, key=lambda pair: pair[1].p_value)


def _by_length(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Shorter or longer questions, cut beside the median, where the halves are most alike."""
    lengths = np.array([_length(item.get("prompt", "")) for item in items])
    middle = np.median(lengths) if len(lengths) else 0.0
    cuts = (lengths < middle, lengths <= middle)
    shorter = min(cuts, key=lambda cut: abs(float(cut.mean()) - 0.5) if len(cut) else 0.0)
    return ["shorter" if one else "longer" for one in shorter]


def _length(prompt: Any) -> int:
    """Characters of a raw prompt, or of all turns."""
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(turn.get("content", "")) for turn in prompt)
