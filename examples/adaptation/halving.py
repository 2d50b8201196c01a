"""The best of few learning rates by successive halving, and the tuning it ends in.

    rates    the method's default / 4, x 1, x 4             all, for the first round's steps
             the better half of them                        to the second's
             the best                                       to the end

The best of a round may not be at the edge of the grid: the grid is then widened by 4 and the new
rate tried, at most three times. How a rate is judged is the task's:

- without rows held out, after a quarter and half of the steps, by the loss of those since the last
  round, on rows that it had not seen before (of the first pass over the rows; the same rows for
  all rates). Each rate is one run of `tune` that is stopped and goes on from its checkpoint, so
  that no step is made twice;
- with some, by what is answered right of them after a run of its own of half the steps, with the
  whole schedule; among equals by that run's loss at its end.

What is done is not done again after a kill.

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
from tutelage.backends.open import open_lm
from tutelage.errors import GuardError
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.machine.memory import release
from tutelage.peft import METHODS
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

Json = dict[str, Any]
FACTOR, WIDENINGS = 4.0, 3
BY_LOSS, BY_ANSWERS = (0.25, 0.5, 1.0), (0.5, 1.0)
"""Shares of the steps that the rounds go to. Names in texts are found or not by chance after a
quarter of them."""
HIGHEST = 0.9
"""Of the rates that `tune` takes."""
WORST = float("inf")
Cost = tuple[float, float]
"""What is small in a good rate: the share answered wrong, 0 if nobody was asked; and the loss."""
LAST = 0.1
"""Of a run's steps, whose loss is that at its end."""


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
        return float(METHODS.get(self.method).rate(headed=self.task.head is not None))

    @property
    def rounds(self) -> Sequence[float]:
        return BY_ANSWERS if self.task.held else BY_LOSS

    def best(self) -> Json:
        """`{"out", "result", "rates", "widened"}`: the run that came to its end, and what each rate
        lost in each round."""
        grid: dict[int, list[Cost]] = {power: [] for power in (-1, 0, 1)}
        left, widened, last = list(grid), 0, len(self.rounds) - 1
        for number in range(len(self.rounds)):
            for power in left:
                grid[power].append(self.cost(power, number))
            while number == 0 and widened < WIDENINGS and (new := self._outside(grid)) is not None:
                grid[new] = [self.cost(new, 0)]
                left, widened = sorted([*left, new]), widened + 1
            if number < last:
                left = self._better_half(left, grid, to_one=number + 1 == last)
        return {
            "out": self._out(left[0], last), "result": self._tuned(left[0], last),
            "rates": [
                {
                    "rate": self._rate(power), "losses": [_finite(loss) for _, loss in costs],
                    **({"right": [1 - wrong for wrong, _ in costs]} if self.task.held else {}),
                }
                for power, costs in sorted(grid.items())
            ],
            "widened": widened, "at_edge": left[0] in (min(grid), max(grid)),
        }  # fmt: skip

    def _outside(self, grid: dict[int, list[Cost]]) -> int | None:
        """The next rate where the best is at the edge of those tried, if it is another."""
        best = min(grid, key=lambda power: grid[power][0])
        if best == min(grid) or math.isinf(grid[best][0][1]):
            return min(grid) - 1
        higher = best == max(grid) and self._rate(best) < HIGHEST
        return best + 1 if higher else None

    def _better_half(
        self, left: Sequence[int], grid: dict[int, list[Cost]], to_one: bool
    ) -> list[int]:
        """In order of the grid; the checkpoints of all others are dropped."""
        ordered = sorted(left, key=lambda power: grid[power][-1])
        kept = ordered[: 1 if to_one else max(1, len(ordered) // 2)]
        for power in set(left) - set(kept):
            shutil.rmtree(self._out(power, 0).with_suffix(".state"), ignore_errors=True)
        return sorted(kept)

    def cost(self, power: int, number: int) -> Cost:
        """Of one round; WORST for a run that broke."""
        file = self.folder / f"{power}.json"
        found = store.read_json(file) if file.is_file() else {}
        if str(number) not in found:
            found[str(number)] = [_finite(one) for one in self._round(power, number)]
            store.write_json(file, found)
        wrong, loss = (WORST if one is None else float(one) for one in found[str(number)])
        return wrong, loss

    def _round(self, power: int, number: int) -> Cost:
        try:
            curve = self._tuned(power, number)["curve"]
        except GuardError:
            return 1.0, WORST
        first, last = self._judged(number)
        losses = [one["loss"] for one in curve if first < one["step"] <= last]
        wrong = 1 - self._right(self._out(power, number)) if self.task.held else 0.0
        return wrong, sum(losses) / len(losses)

    def _judged(self, number: int) -> tuple[int, int]:
        """The steps whose loss counts in a round."""
        last = round(self.task.steps * self.rounds[number])
        if self.task.held:
            return last - max(1, round(last * LAST)), last
        return round(self.task.steps * (self.rounds[number - 1] if number else 0.0)), last

    def _right(self, out: Path) -> float:
        """What a tuned model makes of the rows held out, by the task's metric."""
        release()
        task = self.task
        adapter = METHODS.get(self.method).adapter
        lm = open_lm(
            task.model if adapter else str(out), adapter=out if adapter else None,
            threads=self.threads,
        )  # fmt: skip
        found = evaluate_rows(
            lm, task.held, (), [task.metric], max_new_tokens=task.answer_tokens or 1
        )
        return float(found.measured[task.metric]["value"])

    def _tuned(self, power: int, number: int) -> Json:
        """The run with this rate, brought to this round's share of its steps."""
        task, until = self.task, round(self.task.steps * self.rounds[number])
        config = TuneConfig(
            method=self.method, options=self.options, learning_rate=self._rate(power),
            steps=until if task.held else task.steps, batch_tokens=task.batch_tokens,
            head=task.head, save_seconds=1e6,
        )  # fmt: skip
        made = [0]
        release()
        return tune(
            task.model, task.train, config, self._out(power, number), threads=self.threads,
            progress=lambda what, done, total: made.__setitem__(0, done),
            deadline=lambda: made[0] >= until,
        )  # fmt: skip

    def _out(self, power: int, number: int) -> Path:
        """A run that goes on stays where it is."""
        return self.folder / (f"rate{power}-{number}" if self.task.held else f"rate{power}")

    def _rate(self, power: int) -> float:
        return min(self.default * FACTOR**power, HIGHEST)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
