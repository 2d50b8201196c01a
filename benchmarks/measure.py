"""How the benchmarks measure: fresh processes, two sides in turn, medians, the machine beside them.

    tried = sweep({"bf16, 8 rows": partial(peer.train, ...), ...})
    result = in_turn(partial(ours.train, ...), best(tried)..., pairs=3)

Every measurement runs in a process of its own, so that peak memory is its own. The two sides
alternate (A B A B) and a ratio is taken within each pair, because machines drift within minutes.
Knows nothing of models: a measurement is a speed, where higher is better, and bytes.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One side, once. `speed` is units a second, the benchmark says of what; `peak_bytes` is the
    highest resident set above the one after imports; `dtype` is fp32, bf16 or a type of a
    peer's own."""

    speed: float
    peak_bytes: int
    dtype: str
    detail: Json = field(default_factory=dict)


Side = Callable[[], Measurement]


@dataclass(frozen=True)
class Tried:
    """A setting of the peer, and what it reached or why it did not run."""

    setting: str
    side: Side
    measured: Measurement | None
    failure: str | None = None

    def to_json(self) -> Json:
        measured = asdict(self.measured) if self.measured else None
        return {"setting": self.setting, "measured": measured, "failure": self.failure}


@dataclass(frozen=True)
class Work:
    """What one unit costs a machine at least: a speed times this, over the limit, is the share."""

    limit: Literal["multiplying", "reading"]
    per_unit: Callable[[Measurement], float]
    """Floating-point operations, or bytes."""


def fresh(work: Callable[[], Any]) -> Any:
    """The result of `work` from a new process, which ends with it. `work` must be importable."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work).result()


def sweep(sides: Mapping[str, Side]) -> list[Tried]:
    """Measure every setting once. One that fails, for want of memory say, is kept as failed."""
    tried = []
    for number, (setting, side) in enumerate(sides.items(), 1):
        begun = time.monotonic()
        try:
            found = Tried(setting, side, fresh(side))
        except (BrokenProcessPool, MemoryError, RuntimeError) as error:
            first = str(error).splitlines()[0] if str(error) else ""
            found = Tried(setting, side, None, f"{type(error).__name__}: {first}")
        what = f"{found.measured.speed:,.1f}" if found.measured else found.failure
        seconds = time.monotonic() - begun
        say(f"peer {number} of {len(sides)}: {setting}: {what} ({seconds:.0f} s)")
        tried.append(found)
    return tried


def best(tried: Sequence[Tried]) -> Tried:
    """The fastest setting. Raises RuntimeError if none ran."""
    ran = [one for one in tried if one.measured is not None]
    if not ran:
        raise RuntimeError("the peer ran with no setting: " + "; ".join(map(repr, tried)))
    return max(ran, key=lambda one: one.measured.speed if one.measured else 0.0)


def in_turn(
    ours: Side, peer: Side, *, pairs: int, threads: int, work: Work, goals: Mapping[str, float]
) -> Json:
    """Alternate machine, ours, peer; `goals` are the ratios asked for: speed, and maybe memory."""
    machines, a, b = [], [], []
    for number in range(1, pairs + 1):
        machines.append(fresh(_Machine(threads)))
        a.append(fresh(ours))
        b.append(fresh(peer))
        say(f"pair {number} of {pairs}: ours {a[-1].speed:,.1f}, peer {b[-1].speed:,.1f}")
    limits = _limits(machines)
    speed = [x.speed / y.speed for x, y in zip(a, b, strict=True)]
    memory = [x.peak_bytes / y.peak_bytes for x, y in zip(a, b, strict=True)]
    ratios = {"speed": _ratio(speed, goals["speed"], higher=True)}
    if "memory" in goals:
        ratios["memory"] = _ratio(memory, goals["memory"], higher=False)
    return {
        "ours": _side(a, limits, work),
        "peer": _side(b, limits, work),
        "ratio": ratios,
        "limits": limits,
        "limited_by": work.limit,
    }


def resident_after_imports() -> int:
    """Bytes resident now, with what earlier work of the interpreter left behind given back."""
    import gc

    from tutelage.machine.memory import resident

    gc.collect()
    return resident()


def environment(threads: int) -> Json:
    """The machine and the versions, in words."""
    from tutelage.machine import describe, memory

    packages = ("torch", "transformers", "peft")
    return {
        "processor": describe.processor(),
        "cores": describe.cores(),
        "threads": threads,
        "memory_bytes": memory.total(),
        "versions": {name: describe.package_version(name) for name in packages},
        "commit": describe.commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Machine:
    """Measures the machine's limits, in whichever process it is called."""

    threads: int

    def __call__(self) -> Json:
        from tutelage.machine import speed
        from tutelage.machine.device import use_threads

        use_threads(self.threads)
        return {
            "gemm_flops": {dtype: speed.gemm_flops(dtype) for dtype in ("fp32", "bf16")},
            "bandwidth": speed.bandwidth(),
        }


def _limits(machines: Sequence[Json]) -> Json:
    """The highest of all pairs: a limit is what the machine can do, not what it did when busy."""
    return {
        "gemm_flops": {
            dtype: max(machine["gemm_flops"][dtype] for machine in machines)
            for dtype in machines[0]["gemm_flops"]
        },
        "bandwidth": max(machine["bandwidth"] for machine in machines),
    }


def _side(found: Sequence[Measurement], limits: Json, work: Work) -> Json:
    dtype = found[0].dtype
    products = limits["gemm_flops"]
    # Numbers of 16 bits may be multiplied in whatever type is fastest, as those of types that are
    # not measured, as llama.cpp's.
    multiplying = products["fp32"] if dtype == "fp32" else max(products.values())
    limit = multiplying if work.limit == "multiplying" else limits["bandwidth"]
    return {
        "speed": statistics.median(one.speed for one in found),
        "speeds": [one.speed for one in found],
        "peak_bytes": int(statistics.median(one.peak_bytes for one in found)),
        "dtype": dtype,
        "share_of_limit": statistics.median(
            one.speed * work.per_unit(one) / limit for one in found
        ),
        "runs": [one.detail for one in found],
    }


def _ratio(values: Sequence[float], goal: float, higher: bool) -> Json:
    median = statistics.median(values)
    return {
        "median": median,
        "low": min(values),
        "high": max(values),
        "goal": goal,
        "reached": median >= goal if higher else median <= goal,
    }
