"""What all studies share: where they work, how large they are, and what they write down.

A study is a function `run(place: Place) -> dict`. Everything it makes stands in a folder of its
own, where a run that was stopped goes on and a finished part is not made again; what it returns is
written to results/NAME.json with the machine and the time it took.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.config import validate
from tutelage.machine.describe import commit, cores, package_version, processor
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import RECORD, pretrain

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SPEED = 1.0e11
"""FLOPs of training a second and processor that "minutes" below stand for, so that a study costs
the same on a busy machine: half the speed of matrix products on the machine of the results."""


@dataclass(frozen=True)
class Place:
    """Where a study works. `scale` multiplies all budgets; figures of `smoke` mean nothing."""

    work: Path
    data: Path
    threads: int
    smoke: bool
    scale: float = 1.0

    def flops(self, minutes: float) -> float:
        """Of so many minutes on two processors; of two seconds in a smoke run."""
        return SPEED * 2 * (2.0 if self.smoke else 60 * minutes * self.scale)

    def processor_minutes(self, minutes: float) -> float:
        """Of two processors."""
        return 2 * (1 / 30 if self.smoke else minutes * self.scale)

    def count(self, whole: int, smoke: int) -> int:
        return smoke if self.smoke else whole

    def raised(self, name: str, described: Json) -> Json:
        """The record of a pretraining run in a folder of its own."""
        config = validate(PretrainConfig, {"name": name, **described})
        print(f"  {name}", flush=True)
        return pretrain(config, self.work / name, threads=self.threads)

    def model(self, name: str) -> str:
        return str(self.work / name / "model")


def written(name: str, run: Callable[[Place], Json], place: Place, results: Path) -> Path:
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
        "training": _training(place.work),
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


def _training(work: Path) -> Json:
    """Hours of all pretraining runs of a study, also those made before it was last started."""
    records = [json.loads(file.read_text("utf-8")) for file in sorted(work.glob(f"*/{RECORD}"))]
    return {
        "runs": len(records),
        "hours": sum(one["seconds"] for one in records) / 3600,
        "processor_hours": sum(one["processor_seconds"] for one in records) / 3600,
        "flops": sum(one["flops"] for one in records),
    }


def short(record: Json) -> Json:
    """What a table needs of a run."""
    names = (
        "parameters", "tokens", "flops", "steps", "seconds", "processor_seconds", "bits_per_byte",
        "held_out_loss", "tokens_per_second", "mfu", "gemm_flops", "loss", "objective",
    )  # fmt: skip
    thinned = record["curve"][:: max(1, len(record["curve"]) // 60)]
    return {**{name: record[name] for name in names}, "curve": thinned, "model": record["model"]}
