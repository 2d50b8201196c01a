"""Who is better than whom: each finished candidate against the baselines and the best cheaper one.

All comparisons of a run are corrected together (Holm). Pairs are compared on test rows where both
were scored there, else on development rows, which the comparison says. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.statistics import compare, holm
from tutelage.lifecycle.choose import Standing
from tutelage.lifecycle.contender import Contender
from tutelage.lifecycle.rungs import BASELINES
from tutelage.score import METRICS


@dataclass(frozen=True)
class Pair:
    """Difference of the goal metric, `name` minus `against`."""

    name: str
    against: str
    difference: float
    low: float
    high: float
    p_value: float
    rows: str

    def as_json(self) -> dict[str, Any]:
        """The fields of `record.Comparison`."""
        return {
            "against": self.against,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
            "rows": self.rows,
        }


def of_run(
    contenders: Sequence[Contender], standings: Sequence[Standing], metric: str, seed: int
) -> list[Pair]:
    """Every comparison the contract asks for, corrected over the run."""
    by_name = {one.name: one for one in contenders if one.finished}
    wanted = []
    for standing in standings:
        one = by_name[standing.name]
        for other in _opponents(one, standing, standings, by_name):
            wanted.append((one, other))
    return corrected([pair(one, other, metric, seed) for one, other in wanted])


def pair(one: Contender, other: Contender, metric: str, seed: int) -> Pair:
    """The comparison of two finished candidates, not corrected."""
    rows, a, b = _same_rows(one, other)
    aggregate = METRICS.get(metric).aggregate
    found = compare(a.statistics[metric], b.statistics[metric], aggregate, seed)
    return Pair(one.name, other.name, found.difference, found.low, found.high, found.p_value, rows)


def corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs with Holm's p-values."""
    adjusted = holm([each.p_value for each in pairs])
    return [replace(each, p_value=p) for each, p in zip(pairs, adjusted, strict=True)]


def _opponents(
    one: Contender,
    standing: Standing,
    standings: Sequence[Standing],
    by_name: dict[str, Contender],
) -> list[Contender]:
    """The same model's baselines, and the best on development rows of all that cost less."""
    found = [
        other
        for other in by_name.values()
        if other.model == one.model and other.rung.name in BASELINES
    ]
    cheaper = [other for other in standings if other.dearness < standing.dearness]
    if cheaper:
        found.append(by_name[max(cheaper, key=lambda other: other.quality.value).name])
    return [other for other in dict.fromkeys(found) if other is not one]


def _same_rows(one: Contender, other: Contender) -> tuple[str, Evaluation, Evaluation]:
    if one.test is not None and other.test is not None:
        return "test", one.test, other.test
    assert one.development is not None and other.development is not None
    return "development", one.development, other.development
