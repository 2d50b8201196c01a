"""The best of few learning rates by successive halving, and the tuning it ends in.

    rates    the method's default / 4, x 1, x 4             all, for a quarter of the steps
             the better half of them                        to half of the steps
             the best                                       to the end

The best of a round may not be at the edge of the grid: the grid is then widened by 4 and the new
rate tried, at most three times. A rate is judged by the loss of the steps since the last round, on
rows that it had not seen before (of the first pass over the rows; the same rows for all rates).
Each rate is one run of `tune` that is stopped and goes on from its checkpoint, so that no step is
made twice, also not after a kill.

Source: Jamieson and Talwalkar 2016, arXiv:1502.07943, algorithm 1 (with a factor of 2).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import Task

from tutelage import store
from tutelage.errors import GuardError
from tutelage.machine.memory import release
from tutelage.peft import METHODS
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

Json = dict[str, Any]
FACTOR, WIDENINGS = 4.0, 3
ROUNDS = (0.25, 0.5, 1.0)
WORST = float("inf")


@dataclass(frozen=True)
class Search:
    """One method on one task. `options` are the method's own."""

    task: Task
    method: str
    options: Json
    folder: Path
    threads: int

    @property
    def default(self) -> float:
        return float(METHODS.get(self.method).learning_rate)

    def best(self) -> Json:
        """`{"out", "result", "rates", "widened"}`: the run that came to its end, and what each rate
        lost in each round."""
        grid = {power: [WORST] * 0 for power in (-1, 0, 1)}
        left, widened = list(grid), 0
        for number, share in enumerate(ROUNDS):
            for power in left:
                grid[power].append(self.loss(power, number))
            while number == 0 and widened < WIDENINGS and (new := _outside(grid)) is not None:
                grid[new] = [self.loss(new, 0)]
                left, widened = sorted([*left, new]), widened + 1
            if share < 1:
                left = self._better_half(left, grid)
        result = self._tuned(left[0], 1.0)
        return {
            "out": self._out(left[0]), "result": result,
            "rates": [
                {"rate": self._rate(power), "losses": [_finite(one) for one in losses]}
                for power, losses in sorted(grid.items())
            ],
            "widened": widened, "at_edge": left[0] in (min(grid), max(grid)),
        }  # fmt: skip

    def _better_half(self, left: Sequence[int], grid: dict[int, list[float]]) -> list[int]:
        """In order of the grid; the checkpoints of all others are dropped."""
        ordered = sorted(left, key=lambda power: grid[power][-1])
        kept = ordered[: 1 if len(grid[ordered[0]]) > 1 else max(1, len(ordered) // 2)]
        for power in set(left) - set(kept):
            shutil.rmtree(self._out(power).with_suffix(".state"), ignore_errors=True)
        return sorted(kept)

    def loss(self, power: int, number: int) -> float:
        """Of the steps of one round, in nats a trained token; WORST for a run that broke."""
        file = self.folder / f"{power}.json"
        found = store.read_json(file) if file.is_file() else {}
        if str(number) not in found:
            found[str(number)] = _finite(self._round(power, number))
            store.write_json(file, found)
        value = found[str(number)]
        return WORST if value is None else float(value)

    def _round(self, power: int, number: int) -> float:
        before = ROUNDS[number - 1] if number else 0.0
        try:
            curve = self._tuned(power, ROUNDS[number])["curve"]
        except GuardError:
            return WORST
        first, last = (round(self.task.steps * share) for share in (before, ROUNDS[number]))
        losses = [one["loss"] for one in curve if first < one["step"] <= last]
        return sum(losses) / len(losses)

    def _tuned(self, power: int, share: float) -> Json:
        """The run with this rate, brought to this share of its steps."""
        task, until = self.task, round(self.task.steps * share)
        config = TuneConfig(
            method=self.method, options=self.options, learning_rate=self._rate(power),
            steps=task.steps, batch_tokens=task.batch_tokens, head=task.head, save_seconds=1e6,
        )  # fmt: skip
        made = [0]
        release()
        return tune(
            task.model, task.train, config, self._out(power), threads=self.threads,
            progress=lambda what, done, total: made.__setitem__(0, done),
            deadline=lambda: made[0] >= until,
        )  # fmt: skip

    def _out(self, power: int) -> Path:
        return self.folder / f"rate{power}"

    def _rate(self, power: int) -> float:
        return min(self.default * FACTOR**power, 0.9)


def _outside(grid: dict[int, list[float]]) -> int | None:
    """The next rate where the best is at the edge of those tried."""
    best = min(grid, key=lambda power: grid[power][0])
    if math.isinf(grid[best][0]):
        return min(grid) - 1
    if best == min(grid):
        return best - 1
    return best + 1 if best == max(grid) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
