"""Which of several models to take: the cheapest whose loss against the best is shown to be small.

"Not shown to be worse" is true of anything on few rows. A model counts as good as the best where
the 95% interval of its loss excludes one larger than a stated margin (non-inferiority: ICH E9,
1998, section 3.3.2), as worse where a paired test says so (Holm), and else nobody can tell yet:

    loss = sign (value of the best - its own)         as good    high(loss) <= margin
                                                      worse      p < 0.05, high(loss) > margin
    rows to tell    n = ((z_0.975 + z_0.8) s / (margin - loss))^2,   s = w sqrt(n) / (2 z_0.975)

s is the standard deviation of a row's difference, from the interval's width w. With a goal the
cheapest whose interval's lower bound reaches it is taken. Arithmetic on what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from tutelage.errors import DataError
from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.statistics import Comparison, compare, holm, n_needed
from tutelage.score import METRICS
from tutelage.score._metric import Metric

LEVEL = 0.05
MARGIN = 0.05
"""The largest loss that is no loss, in the metric's own unit."""
Standing = Literal["as good", "worse", "cannot tell"]


@dataclass(frozen=True)
class Candidate:
    """A model, what it answered, and what an answer costs (in any one unit, for all)."""

    name: str
    evaluation: Evaluation
    cost: float


@dataclass(frozen=True)
class Against:
    """How a model stands beside the best: `loss` with its interval, p after Holm, and the rows that
    would tell, where nobody can."""

    standing: Standing
    loss: float
    low: float
    high: float
    p_value: float
    n_needed: int | None


@dataclass(frozen=True)
class Picked:
    """What to take and why; `others` are all but the best."""

    name: str
    reason: str
    best: str
    others: Mapping[str, Against]


def pick(
    candidates: Sequence[Candidate],
    metric: str,
    goal: float | None = None,
    seed: int = 0,
    margin: float = MARGIN,
) -> Picked:
    """Raises DataError where the models have too few rows in common."""
    found = METRICS.get(metric, field="--metric")
    sign = -1.0 if found.errors else 1.0
    rows = _common(candidates, metric)
    value = {name: float(found.aggregate(own.sum(axis=0))) for name, own in rows.items()}
    best = max(candidates, key=lambda c: (sign * value[c.name], -c.cost)).name
    others = _others(rows, best, found, seed, margin)
    by_cost = sorted(candidates, key=lambda c: c.cost)
    if goal is not None:
        for one in by_cost:
            bound = one.evaluation.measured[metric]["high" if found.errors else "low"]
            if bound is not None and sign * bound >= sign * goal:
                reason = f"the cheapest whose interval reaches the goal {goal:g}"
                return Picked(one.name, reason, best, others)
    short = "" if goal is None else f"none reaches the goal {goal:g}; "
    taken = next(c.name for c in by_cost if c.name == best or others[c.name].standing == "as good")
    cheaper = [c.name for c in by_cost if c.cost < _cost(candidates, taken)]
    count = len(rows[best])
    if taken == best:
        why = f"the best, {value[best]:.3f} on {count} rows"
    else:
        beside = others[taken]
        why = (
            f"the cheapest that loses at most {margin:g} against the best, {best} "
            f"({value[taken]:.3f} against {value[best]:.3f}, loss {beside.loss:+.3f}, at most "
            f"{beside.high:+.3f} on {count} rows)"
        )
    return Picked(taken, short + why + _cheaper(cheaper, others, margin), best, others)


def _others(
    rows: Mapping[str, np.ndarray], best: str, metric: Metric, seed: int, margin: float
) -> dict[str, Against]:
    names = [name for name in rows if name != best]
    tests = [
        compare(rows[best], rows[name], metric.aggregate, seed, limits=metric.limits)
        for name in names
    ]
    p_values = holm([test.p_value for test in tests])
    return {
        name: against(test, p, margin, metric.errors)
        for name, test, p in zip(names, tests, p_values, strict=True)
    }


def against(test: Comparison, p_value: float, margin: float, errors: bool = False) -> Against:
    """Where a model stands, by the comparison of the best with it."""
    loss, low, high = test.difference, test.low, test.high
    if errors:
        loss, low, high = -loss, -high, -low
    needed = None
    standing: Standing
    if high <= margin:
        standing = "as good"
    elif p_value < LEVEL and low > 0:
        standing = "worse"
    else:
        standing = "cannot tell"
        spread = (high - low) * math.sqrt(test.n) / (2 * NormalDist().inv_cdf(0.975))
        # A loss at the margin cannot be told from it; then the rows that would show a loss at all.
        needed = n_needed(margin - loss, spread) if loss < margin else n_needed(loss, spread)
        needed = None if needed is None else max(needed, test.n + 1)
    return Against(standing, loss, low, high, p_value, needed)


def _cheaper(names: Sequence[str], others: Mapping[str, Against], margin: float) -> str:
    """What is to be said of the models that cost less than the one taken."""
    if not names:
        return ", and the cheapest"
    worse = [name for name in names if others[name].standing == "worse"]
    parts = [f"cheaper and worse: {', '.join(worse)}"] if worse else []
    for name in names:
        one = others[name]
        if one.standing == "cannot tell":
            rows = "" if one.n_needed is None else f"; about {one.n_needed} rows would tell"
            parts.append(
                f"cannot tell whether {name}, which is cheaper, loses at most {margin:g} "
                f"(between {one.low:+.3f} and {one.high:+.3f}{rows})"
            )
    return "".join(f"; {part}" for part in parts)


def _cost(candidates: Sequence[Candidate], name: str) -> float:
    return next(c.cost for c in candidates if c.name == name)


def _common(candidates: Sequence[Candidate], metric: str) -> dict[str, np.ndarray]:
    """Statistics of the rows that all models could take, in one order."""
    common = set.intersection(*({i.id for i in c.evaluation.items} for c in candidates))
    if len(common) < 2:
        raise DataError("too few rows that all models can take", field="--data", got=len(common))
    return {c.name: _rows(c.evaluation, metric, common) for c in candidates}


def _rows(evaluation: Evaluation, metric: str, common: set[str]) -> np.ndarray:
    places = {item.id: place for place, item in enumerate(evaluation.items)}
    return evaluation.statistics[metric][[places[id] for id in sorted(common)]]
