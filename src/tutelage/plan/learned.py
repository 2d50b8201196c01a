"""What runs on this machine say of the formulas: a factor for each component, and one for time.

    correction = learn(runs)
    correction.bytes({"weights": ..., "activations": ...})     # as components, corrected

Peak memory is runtime + sum_j c_j x_j + c_0, x_j a component's predicted bytes. The c that make

    sum over runs ((predicted - measured) / measured)^2 + penalty x sum_j (c_j - prior_j)^2

least are taken, with prior 1 for components and 0 for c_0, so that what few runs say nothing of
stays as the formula has it (ridge regression, Hoerl and Kennard 1970, towards the formula). The
penalty is the one of least error on runs left out, one at a time. Time has the median of
measured / predicted.
Knows numbers alone; standard library, because a plan has no time for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

FEWEST = 4
"""Runs that a correction is learned from."""
SMALLEST = 100_000_000
"""Bytes that a run must hold beyond what its process held before: less says nothing of shapes."""
SHORTEST = 2.0
"""Seconds of a run that says something of speed."""
CONSTANT = "constant"
UNIT = 1e8
"""Bytes that c_0 counts in, so that one penalty suits all."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e3)
SMALL_PENALTIES = (1e-6, 1e-5)
"""Only where there are twice as many runs as factors: fewer leave these free to follow noise, and
runs left out of a few that are alike do not show it."""
LEAST, MOST = 0.2, 5.0
"""Factors beyond these are mistakes of the data, not of the formulas."""
RUNTIME = "runtime"


@dataclass(frozen=True)
class Ran:
    """One run: predicted bytes by component, `runtime` among them, and what was measured."""

    components: Mapping[str, int]
    peak_bytes: int
    predicted_seconds: float
    seconds: float

    @property
    def before(self) -> int:
        return self.components.get(RUNTIME, 0)

    @property
    def shaped(self) -> dict[str, int]:
        """What follows from shapes."""
        return {name: size for name, size in self.components.items() if name != RUNTIME and size}


@dataclass(frozen=True)
class Correction:
    """Factors by component, bytes added, and a factor of time; how far off runs left out were."""

    factors: Mapping[str, float]
    added_bytes: float
    time: float | None
    runs: int
    median_error: float
    worst_error: float

    def bytes(self, components: Mapping[str, int]) -> dict[str, int]:
        """Predicted bytes by component, corrected; those never seen stay as they are."""
        found = {
            name: round(size * self.factors.get(name, 1.0)) for name, size in components.items()
        }
        return found | {CONSTANT: round(self.added_bytes)}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def learn(runs: Sequence[Ran]) -> Correction | None:
    """The correction that the runs say, None where fewer than FEWEST are large enough."""
    large = [run for run in runs if sum(run.shaped.values()) >= SMALLEST]
    if len(large) < FEWEST:
        return None
    unknown = 1 + len({name for run in large for name in run.shaped})
    free = (*SMALL_PENALTIES, *PENALTIES) if len(large) >= 2 * unknown else PENALTIES
    errors = {penalty: _left_out(large, penalty) for penalty in free}
    best = min(free, key=lambda penalty: sum(errors[penalty]))
    factors, added = _fitted(large, best)
    ratios = [
        run.seconds / run.predicted_seconds
        for run in runs
        if run.seconds >= SHORTEST and run.predicted_seconds > 0
    ]
    time = median(ratios) if len(ratios) >= FEWEST else None
    found = errors[best]
    return Correction(factors, added, time, len(large), median(found), max(found))


def error(correction: Correction | None, run: Ran) -> float:
    """|predicted - measured| / measured of peak memory; without a correction, by formulas."""
    shaped = run.shaped if correction is None else correction.bytes(run.shaped)
    return abs(run.before + sum(shaped.values()) - run.peak_bytes) / run.peak_bytes


def _left_out(runs: Sequence[Ran], penalty: float) -> list[float]:
    found = []
    for place, run in enumerate(runs):
        others = [*runs[:place], *runs[place + 1 :]]
        factors, added = _fitted(others, penalty)
        found.append(error(Correction(factors, added, None, 0, 0.0, 0.0), run))
    return found


def _fitted(runs: Sequence[Ran], penalty: float) -> tuple[dict[str, float], float]:
    """Factors, and bytes added."""
    names = sorted({name for run in runs for name in run.shaped})
    prior = [1.0] * len(names) + [0.0]
    rows = [
        [run.shaped.get(name, 0) / run.peak_bytes for name in names] + [UNIT / run.peak_bytes]
        for run in runs
    ]
    # What the prior leaves over is explained by changes of the factors.
    left = [
        (run.peak_bytes - run.before) / run.peak_bytes
        - sum(p * x for p, x in zip(prior, row, strict=True))
        for run, row in zip(runs, rows, strict=True)
    ]
    size = range(len(prior))
    square = [
        [sum(row[i] * row[j] for row in rows) + penalty * (i == j) for j in size] for i in size
    ]
    change = _solved(square, [sum(r * x[i] for r, x in zip(left, rows, strict=True)) for i in size])
    found = [p + c for p, c in zip(prior, change, strict=True)]
    factors = {n: min(MOST, max(LEAST, c)) for n, c in zip(names, found, strict=False)}
    return factors, found[-1] * UNIT


def _solved(square: list[list[float]], right: list[float]) -> list[float]:
    """x of A x = b by Gauss's elimination; A is positive definite, so no rows are exchanged."""
    rows = [[*row, value] for row, value in zip(square, right, strict=True)]
    for place, pivot in enumerate(rows):
        for other in rows[place + 1 :]:
            share = other[place] / pivot[place]
            for column in range(place, len(other)):
                other[column] -= share * pivot[column]
    found = [0.0] * len(rows)
    for place in reversed(range(len(rows))):
        row = rows[place]
        known = sum(row[n] * found[n] for n in range(place + 1, len(rows)))
        found[place] = (row[-1] - known) / row[place]
    return found
