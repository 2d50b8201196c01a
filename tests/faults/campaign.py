"""Kill one run again and again; each time the same call goes on, and at the end nothing differs.

    case = Case.of(zygote, out, work, finished, ending)      # undisturbed: what is to come out
    kills = Kills(zygote, case, folder)
    kills.at_random_moments(50, seed=2)
    kills.before_each(case.kinds())

Prints the seed, every moment and the place it fell into, so that a failure can be repeated (with
KILL_SEED in the environment another seed can be tried), and checks after every single process that
what was finished before it is untouched.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.conftest import KILLED, Zygote

MOST_KILLS = 3
"""Of one run at random moments: then it is let go to its end."""


@dataclass(frozen=True)
class Case:
    """A run without kills: what came out, how long it took, and its durable operations by kind."""

    work: str
    finished: Callable[[Path], dict[str, int]]
    """Parts that are done and may not be done again, and when each was made."""
    ending: Callable[[Path], Any]
    """What came out, as plain data that is equal for equal runs."""
    expected: Any
    seconds: float
    operations: tuple[str, ...]

    @classmethod
    def of(
        cls, zygote: Zygote, out: Path, work: str,
        finished: Callable[[Path], dict[str, int]], ending: Callable[[Path], Any],
    ) -> Case:  # fmt: skip
        zygote.warm(work)
        begun = time.monotonic()
        assert zygote.run(out, work, kill_at=-1) == 0
        seconds = time.monotonic() - begun
        operations = out.with_name(out.name + ".operations").read_text().splitlines()
        return cls(work, finished, ending, ending(out), seconds, tuple(operations))

    def kinds(self) -> list[str]:
        """Each kind of durable operation once, in the order of their first."""
        return list(dict.fromkeys(self.operations))


class Kills:
    """One campaign on runs of one case, below a folder."""

    def __init__(self, zygote: Zygote, case: Case, folder: Path) -> None:
        self.zygote, self.case, self.folder = zygote, case, folder
        self.places: Counter[str] = Counter()
        self.seconds = case.seconds
        self._numbers = itertools.count()

    def new(self) -> Path:
        """Where another run may lie."""
        return self.folder / str(next(self._numbers)) / "run"

    def killed(self, out: Path, **kill: Any) -> bool:
        """One process, killed as told unless it ends before; nothing finished is done again."""
        fresh, before = not out.parent.exists(), self.case.finished(out)
        begun = time.monotonic()
        killed = self.zygote.run(out, self.case.work, **kill) == KILLED
        if fresh and not killed:  # other work may have slowed the run that was measured first
            self.seconds = min(self.seconds, time.monotonic() - begun)
        after = self.case.finished(out)
        assert {name: after.get(name) for name in before} == before, "finished and yet done again"
        if killed:
            self.places[self.zygote.place] += 1
        print(f"{out.parent.name} {kill}: {self.zygote.place if killed else 'at its end'}")
        return killed

    def end(self, out: Path) -> None:
        """The same call once more, to the end, which is that of the undisturbed run."""
        assert not self.killed(out)
        found = dict(differences(self.case.ending(out), self.case.expected))
        assert not found, found

    def at_random_moments(self, count: int, seed: int) -> None:
        print(f"{count} kills, undisturbed {self.case.seconds:.2f} s")
        drawn = random.Random(seed_of(seed))
        while self.places.total() < count:
            out = self.new()
            for _ in range(drawn.randint(1, MOST_KILLS)):
                if not self.killed(out, kill_after=drawn.uniform(0.001, self.seconds)):
                    break
            self.end(out)
        self.summary()

    def before_each(self, kinds: Sequence[str]) -> None:
        """Before the first operation of each kind, one after the other in the same run as long as
        it has some left, then in a new one."""
        waiting = list(kinds)
        while waiting:
            out, count = self.new(), 0
            while count < len(waiting) and self.killed(out, kill_at=waiting[count]):
                count += 1
            self.end(out)
            assert count, f"{waiting[0]} never came"
            waiting = waiting[count:]
        self.summary()

    def before_operations(self, numbers: Iterable[int]) -> None:
        """Before durable operations by their number, each on a fresh folder."""
        for at in numbers:
            out = self.new()
            assert self.killed(out, kill_at=at), at
            self.end(out)
        self.summary()

    def summary(self) -> None:
        """Print how many kills fell where."""
        print(f"{self.places.total()} kills:")
        for place, count in sorted(self.places.items()):
            print(f"{count:>5}  {place}")


def seed_of(usual: int) -> int:
    """The seed of a campaign, which is printed."""
    seed = int(os.environ.get("KILL_SEED", usual))
    print(f"seed {seed}")
    return seed


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Places of two plain values that differ, with both."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{where}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}/{place}")
    elif one != other:
        yield where, (one, other)
