"""Which of several models to take: the cheapest that is not shown to be worse than the best.

With a goal the cheapest whose interval's lower bound reaches it. Arithmetic on what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import DataError
from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.statistics import compare, holm
from tutelage.score import METRICS

LEVEL = 0.05


@dataclass(frozen=True)
class Candidate:
    """A model, what it answered, and what an answer costs (in any one unit, for all)."""

    name: str
    evaluation: Evaluation
    cost: float


@dataclass(frozen=True)
class Picked:
    """`p_values` are of being worse than the best, corrected by Holm's method."""

    name: str
    reason: str
    p_values: Mapping[str, float]


def pick(
    candidates: Sequence[Candidate], metric: str, goal: float | None = None, seed: int = 0
) -> Picked:
    """Raises DataError where the models have too few rows in common."""
    found = METRICS.get(metric, field="--metric")
    sign = -1.0 if found.errors else 1.0
    common = set.intersection(*({i.id for i in c.evaluation.items} for c in candidates))
    if len(common) < 2:
        raise DataError("too few rows that all models can take", field="--data", got=len(common))
    rows = {c.name: _rows(c.evaluation, metric, common) for c in candidates}
    value = {name: float(found.aggregate(own.sum(axis=0))) for name, own in rows.items()}
    best = max(candidates, key=lambda c: (sign * value[c.name], -c.cost)).name
    others = [c.name for c in candidates if c.name != best]
    tests = [
        compare(rows[best], rows[name], found.aggregate, seed, limits=found.limits)
        for name in others
    ]
    p_values = dict(zip(others, holm([test.p_value for test in tests]), strict=True))
    by_cost = sorted(candidates, key=lambda c: c.cost)
    if goal is not None:
        for one in by_cost:
            bound = one.evaluation.measured[metric]["high" if found.errors else "low"]
            if bound is not None and sign * bound >= sign * goal:
                return Picked(
                    one.name, f"the cheapest whose interval reaches the goal {goal:g}", p_values
                )
    even = [c for c in by_cost if c.name == best or p_values[c.name] >= LEVEL]
    short = "" if goal is None else f"none reaches the goal {goal:g}; "
    if even[0].name == best:
        cheaper = [c.name for c in by_cost if c.cost < even[0].cost]
        why = f"the best, {value[best]:.3f}" + (
            f"; what is cheaper is worse: {', '.join(cheaper)}" if cheaper else ", and the cheapest"
        )
        return Picked(best, short + why, p_values)
    one = even[0]
    return Picked(
        one.name,
        f"{short}the cheapest that is not shown to be worse than the best, {best} "
        f"({value[one.name]:.3f} against {value[best]:.3f}, p = {p_values[one.name]:.2f} on "
        f"{len(common)} rows)",
        p_values,
    )


def _rows(evaluation: Evaluation, metric: str, common: set[str]) -> np.ndarray:
    places = {item.id: place for place, item in enumerate(evaluation.items)}
    return evaluation.statistics[metric][[places[id] for id in sorted(common)]]
