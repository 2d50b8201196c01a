"""Choosing among measured candidates: the front, dominated base models, the recommendation.

Pure functions of numbers; knows no model, file or row. Costs are counted (`contender`), so that no
choice hangs on what else the machine was doing; seconds are for people to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Standing:
    """One finished candidate as choices see it: quality on development rows, and two costs."""

    name: str
    model: str
    quality: Interval
    making: float
    """Once: what tuning took; prompts take nothing."""
    answering: float
    """Each time: what one answer takes."""

    @property
    def dearness(self) -> tuple[float, float]:
        """Cheap to dear: first the making, then the answering."""
        return (self.making, self.answering)


@dataclass(frozen=True)
class Verdict:
    """A recommendation: which candidate (None: nothing was measured), why, and whether the goal
    was reached (None: there is none)."""

    name: str | None
    reason: str
    reached: bool | None


def front(standings: Sequence[Standing]) -> list[Standing]:
    """Those that no other beats in quality and both costs at once, cheapest first.

    One is beaten by another that is at least as good, costs no more to make and no more per answer,
    and is better in one of these; of exact equals the first stays.
    """
    kept = [
        one
        for place, one in enumerate(standings)
        if not any(
            _beats(other, one) or (other_place < place and _equals(other, one))
            for other_place, other in enumerate(standings)
        )
    ]
    return sorted(kept, key=lambda one: one.dearness)


def dominated(standings: Sequence[Standing], metric: str) -> dict[str, str]:
    """Base models not worth a dear rung -> the reason, with the numbers.

    Each model stands with its best cheap candidate. It is dropped if the upper end of its interval
    lies below the lower end of another's that costs no more per answer.
    """
    best: dict[str, Standing] = {}
    for one in standings:
        if one.model not in best or one.quality.value > best[one.model].quality.value:
            best[one.model] = one
    reasons = {}
    for model, one in best.items():
        for other in best.values():
            worse = one.quality.high < other.quality.low
            if worse and one.answering >= other.answering:
                reasons[model] = (
                    f"dropped: its best cheap candidate {one.name} has {metric} {one.quality}, "
                    f"below {other.name} with {other.quality}, which costs "
                    f"{_share(other.answering, one.answering)} of it per answer"
                )
                break
    return reasons


def recommend(
    ranked: Sequence[tuple[Standing, Interval]],
    metric: str,
    goal: float | None,
    p_value: Callable[[str, str], float],
) -> Verdict:
    """The cheapest candidate whose lower bound on test rows reaches the goal.

    Where none does, or there is no goal: the cheapest one that is not significantly worse than the
    best. `ranked` holds the front with its test values, cheapest first; `p_value(a, b)` compares
    two of them by name, corrected.
    """
    if not ranked:
        return Verdict(
            None, "no candidate was measured on test rows", None if goal is None else False
        )
    if goal is not None:
        for standing, test in ranked:
            if test.low >= goal:
                return Verdict(standing.name, _reached(ranked, standing, test, metric, goal), True)
    best, best_test = max(ranked, key=lambda pair: pair[1].value)
    standing, test = next(
        (one, value)
        for one, value in ranked
        if one is best or p_value(best.name, one.name) >= SIGNIFICANT
    )
    reason = _without_goal(
        standing, test, best, best_test, metric, cheaper=standing is not ranked[0][0]
    )
    if goal is None:
        return Verdict(standing.name, reason, None)
    return Verdict(
        standing.name,
        f"Goal not reached: no candidate's lower bound on test rows comes up to {metric} {goal:g}. "
        + reason,
        False,
    )


def _beats(one: Standing, other: Standing) -> bool:
    no_worse = (
        one.quality.value >= other.quality.value
        and one.making <= other.making
        and one.answering <= other.answering
    )
    return no_worse and not _equals(one, other)


def _equals(one: Standing, other: Standing) -> bool:
    return one.quality.value == other.quality.value and one.dearness == other.dearness


def _reached(
    ranked: Sequence[tuple[Standing, Interval]],
    chosen: Standing,
    test: Interval,
    metric: str,
    goal: float,
) -> str:
    sentence = (
        f"{chosen.name} is the cheapest candidate whose lower bound reaches the goal of {metric} "
        f"{goal:g}: {test} on {test.n} test rows"
    )
    cheaper = [pair for pair in ranked if pair[0].dearness < chosen.dearness]
    if not cheaper:
        return sentence + "; none on the front is cheaper."
    next_best, value = max(cheaper, key=lambda pair: pair[1].value)
    return sentence + f"; the best cheaper one, {next_best.name}, has {value}."


def _without_goal(
    chosen: Standing,
    test: Interval,
    best: Standing,
    best_test: Interval,
    metric: str,
    cheaper: bool,
) -> str:
    if chosen is best:
        others = "every cheaper one is significantly worse" if cheaper else "none is cheaper"
        return (
            f"{best.name} is the best of the front, with {metric} {best_test} on {best_test.n} "
            f"test rows; {others}."
        )
    return (
        f"{chosen.name}, with {metric} {test} on {test.n} test rows, is the cheapest candidate not "
        f"significantly worse than the best, {best.name} with {best_test}."
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}%" if whole > 0 else "as much"
