"""Scaling laws fitted to runs of one's own.

    parametric(runs)    L(N, D) = E + A / N^alpha + B / D^beta                 approach 3
    iso_flops(runs)     a parabola of L over log N within each budget C, and
                        N_best = G C^a through its lowest points               approach 2

Source: Hoffmann et al. 2022, arXiv:2203.15556, sections 3.2 and 3.3. We differ in how the first is
fitted: for given exponents E, A and B are linear, so those of least squared relative error (not
below 0) are found exactly and only the exponents are searched, on a finer and finer grid. Their
Huber loss on log L guards against outliers, which a dozen runs of one code do not have, and their
search by gradients may stop early, as Besiroglu et al. 2024, arXiv:2404.10102, showed. A parabola
goes through the lowest run of its budget and the next on either side, where they take all: far from
the best size the loss bends the other way, and in small sweeps such runs would decide where it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import DataError
from tutelage.plan.scaling import Fit

EXPONENTS = (0.02, 1.5)
GRID = 25
ROUNDS = 6


@dataclass(frozen=True)
class Trained:
    """One run: N, D, and the loss it came to; `flops` is what it cost, 6 N D if not given."""

    params: float
    tokens: float
    loss: float
    flops: float = 0.0

    @property
    def cost(self) -> float:
        return self.flops or 6 * self.params * self.tokens


@dataclass(frozen=True)
class Valley:
    """The runs of one budget: the N of least loss by their parabola, and that loss. `inside` says
    whether that N lies between the smallest and the largest that were tried."""

    flops: float
    params: float
    loss: float
    inside: bool


@dataclass(frozen=True)
class IsoFlops:
    """N_best = scale C^exponent, through the valleys inside the sizes that were tried."""

    valleys: tuple[Valley, ...]
    scale: float
    exponent: float

    def best(self, flops: float) -> float:
        return float(self.scale * flops**self.exponent)


def parametric(runs: Sequence[Trained]) -> Fit:
    """The law of least squared relative error. Raises DataError for fewer runs than numbers."""
    if len(runs) < 5:
        raise DataError("a law of five numbers", field="runs", got=len(runs), expected="five runs")
    low, high = np.array([EXPONENTS[0]] * 2), np.array([EXPONENTS[1]] * 2)
    best: tuple[float, Fit] | None = None
    for _ in range(ROUNDS):
        grids = [np.linspace(low[i], high[i], GRID) for i in range(2)]
        for alpha, beta in itertools.product(*grids):
            found = _linear(runs, float(alpha), float(beta))
            if best is None or found[0] < best[0]:
                best = found
        assert best is not None
        at, room = np.array([best[1].alpha, best[1].beta]), (high - low) / GRID * 2
        low, high = np.maximum(at - room, EXPONENTS[0]), at + room
    assert best is not None
    return best[1]


def _linear(runs: Sequence[Trained], alpha: float, beta: float) -> tuple[float, Fit]:
    """Squared relative error and the law with these exponents: the best of all that leave out some
    of its three terms and have the others above 0."""
    losses = np.array([run.loss for run in runs])
    terms = np.array([[1, run.params**-alpha, run.tokens**-beta] for run in runs])
    terms = terms / losses[:, None]
    best = (math.inf, Fit(0, 0, 0, alpha, beta))
    for kept in ((0, 1, 2), (1, 2), (0, 2), (0, 1), (2,), (1,), (0,)):
        solved, *_ = np.linalg.lstsq(terms[:, kept], np.ones(len(runs)), rcond=None)
        error = float(((terms[:, kept] @ solved - 1) ** 2).sum())
        if (solved >= 0).all() and error < best[0]:
            whole = np.zeros(3)
            whole[list(kept)] = solved
            e, a, b = map(float, whole)
            best = (error, Fit(e, a, b, alpha, beta))
            if len(kept) == 3:
                break
    return best


def iso_flops(runs: Sequence[Trained], within: float = 0.1) -> IsoFlops:
    """From runs whose costs, up to the share `within`, are those of a few budgets.

    Raises DataError where fewer than two budgets have three sizes and a lowest point.
    """
    valleys = [found for group in _budgets(runs, within) if (found := _valley(group)) is not None]
    inside = [valley for valley in valleys if valley.inside]
    if len(inside) < 2:
        raise DataError(
            "a power law of the budget", field="runs", got=f"{len(inside)} budgets with a valley",
            expected="two budgets of three sizes each, with a lowest loss between them",
        )  # fmt: skip
    costs = np.log([valley.flops for valley in inside])
    exponent, level = np.polyfit(costs, np.log([valley.params for valley in inside]), 1)
    return IsoFlops(tuple(valleys), float(np.exp(level)), float(exponent))


def _budgets(runs: Sequence[Trained], within: float) -> list[list[Trained]]:
    groups: list[list[Trained]] = []
    for run in sorted(runs, key=lambda one: one.cost):
        if groups and run.cost <= groups[-1][0].cost * (1 + within):
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _valley(runs: Sequence[Trained]) -> Valley | None:
    """None for fewer than three sizes, or a parabola without a lowest point."""
    if len({run.params for run in runs}) < 3:
        return None
    near = _around_lowest(runs)
    sizes = np.log([run.params for run in near])
    curve, slope, level = np.polyfit(sizes, [run.loss for run in near], 2)
    if curve <= 0:
        return None
    at = -slope / (2 * curve)
    cost = float(np.exp(np.mean(np.log([run.cost for run in runs]))))
    inside = bool(sizes.min() <= at <= sizes.max())
    return Valley(cost, float(np.exp(at)), float(level - slope**2 / (4 * curve)), inside)


def _around_lowest(runs: Sequence[Trained]) -> Sequence[Trained]:
    """The run of least loss of each size, those next to the lowest; all where it is an end."""
    best: dict[float, Trained] = {}
    for run in sorted(runs, key=lambda one: (one.params, -one.loss)):
        best[run.params] = run
    ordered = list(best.values())
    lowest = min(range(len(ordered)), key=lambda at: ordered[at].loss)
    ends = lowest in (0, len(ordered) - 1)
    return ordered if ends else ordered[lowest - 1 : lowest + 2]
