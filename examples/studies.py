"""What the studies of all folders share: where they work, how large they are, and what they write.

A study is a function `run(place) -> dict`. Everything it makes stands in a folder of its own, where
a run that was stopped goes on and a finished part is not made again; what it returns is written to
results/NAME.json with the machine and the time it took.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.machine.describe import commit, cores, package_version, processor

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SPEED = 1.0e11
"""FLOPs of training a second and processor that "minutes" below stand for, so that a study costs
the same on a busy machine: half the speed of matrix products on the machine of the results."""


@dataclass(frozen=True)
class Place:
    """Where a study works. `scale` multiplies all budgets; figures of `smoke` mean nothing. With
    `so_far` nothing is made, and what is there is told."""

    work: Path
    data: Path
    threads: int
    smoke: bool
    scale: float = 1.0
    so_far: bool = False

    def flops(self, minutes: float) -> float:
        """Of so many minutes on two processors; of two seconds in a smoke run."""
        return SPEED * 2 * (2.0 if self.smoke else 60 * minutes * self.scale)

    def processor_minutes(self, minutes: float) -> float:
        """Of two processors."""
        return 2 * (1 / 30 if self.smoke else minutes * self.scale)

    def count(self, whole: int, smoke: int) -> int:
        return smoke if self.smoke else whole


Run = Callable[[Place], Json]
Spent = Callable[[Path], Json]
"""From a study's folder, what training took that was done in it, now or before."""


@dataclass(frozen=True)
class Folder:
    """A folder of studies: what is said of it, its studies by name, and how their time is told."""

    path: Path
    about: str
    studies: Mapping[str, Callable[[], Run]]
    spent: Spent
    place: type[Place] = Place
    later: Sequence[str] = ()
    """Studies that run only where they are named."""


def main(folder: Folder) -> None:
    """The command line of a folder of studies."""
    name = folder.path.name
    parser = argparse.ArgumentParser(description=folder.about.partition("\n")[0])
    standard = [one for one in folder.studies if one not in folder.later]
    parser.add_argument("--only", choices=list(folder.studies), nargs="+", default=standard)
    parser.add_argument("--smoke", action="store_true", help="everything in small")
    parser.add_argument("--so-far", action="store_true", help="write what is done, make nothing")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / name)
    parser.add_argument("--results", type=Path, help="results/ beside the studies if not given")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets")
    asked = parser.parse_args()
    work = asked.work / "smoke" if asked.smoke else asked.work
    results = asked.results or (work if asked.smoke else folder.path) / "results"
    if asked.smoke and not asked.so_far:
        shutil.rmtree(work, ignore_errors=True)
    for one in asked.only:
        place = folder.place(
            work / one, asked.data, asked.threads, asked.smoke, asked.scale, asked.so_far
        )
        print(written(one, folder.studies[one](), place, results, folder.spent), flush=True)


def written(name: str, run: Run, place: Place, results: Path, spent: Spent) -> Path:
    """Run a study and write what it found."""
    began, worked = time.monotonic(), time.process_time()
    print(name, flush=True)
    found = run(place)
    file = results / f"{name}.json"
    told = {
        "study": name,
        "smoke": place.smoke,
        "minutes": (time.monotonic() - began) / 60,
        "processor_minutes": (time.process_time() - worked) / 60,
        "training": spent(place.work),
        "machine": machine(place.threads),
        "commit": commit(),
        **found,
    }
    results.mkdir(parents=True, exist_ok=True)
    store.write_text(file, json.dumps(told, indent=1) + "\n")
    return file


def machine(threads: int) -> str:
    """In words."""
    torch = package_version("torch")
    return f"{processor()}, {threads} threads of {cores()} processors, torch {torch}"
