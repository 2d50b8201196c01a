"""What training runs on this machine were predicted to take and took, kept for later plans.

    keep(result, device, dtype)     one file a run, and the correction learned from all of them
    correction()                    read by `plan`, which has no time to learn

Below the cache folder, a folder for each machine. Losing it loses nothing but the correction.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.checkpoints.cache import default_cache
from tutelage.errors import TutelageError
from tutelage.machine.describe import package_version, processor
from tutelage.plan.learned import RUNTIME, SMALLEST, Correction, Ran, learn

KEPT = 400
"""Runs; older ones are forgotten."""
LEARNED = "correction.json"


def folder() -> Path:
    """Of this machine: its processor and their number."""
    name = store.digest([processor(), os.cpu_count()])[:16]
    return default_cache() / "plans" / name


def keep(result: Mapping[str, Any], device: str, dtype: str) -> None:
    """Store what `tune` or `pretrain` says of a finished run, and learn again. A full disk is no
    fault of it, and a run so small that it says nothing of shapes is not kept (its own folder says
    what it took)."""
    memory = dict(result["predicted_memory"])
    if sum(memory.values()) - memory.get(RUNTIME, 0) < SMALLEST:
        return
    seconds, flops = result["seconds"], result["counted_flops"]
    run = {
        "method": result["method"], "device": device, "dtype": dtype,
        "source": result["base"]["source"], "steps": result["steps"],
        "settings": result["settings"],
        "predicted": {
            "memory": memory, "seconds": result["predicted_seconds"],
            "probed_seconds": result["probed_seconds"], "flops": result["predicted_flops"],
        },
        "measured": {
            "peak_bytes": result["peak_bytes"], "seconds": seconds,
            "flops": flops,
            "flops_per_second": flops / seconds if flops and seconds > 0 else None,
        },
        "torch": package_version("torch"), "tutelage": package_version("tutelage"),
    }  # fmt: skip
    place = folder()
    with contextlib.suppress(OSError, TutelageError):
        place.mkdir(parents=True, exist_ok=True)
        _write(place / f"run-{secrets.token_hex(8)}.json", run)
        for old in _files(place)[:-KEPT]:
            old.unlink(missing_ok=True)
        found = learn(ran(place))
        if found is not None:
            _write(place / LEARNED, found.as_json())


def ran(place: Path) -> list[Ran]:
    """The runs of a folder on the processor, oldest first; what cannot be read is passed over."""
    found = []
    for file in _files(place):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            run = json.loads(file.read_text(encoding="utf-8"))
            if run["device"] == "cpu":
                predicted, measured = run["predicted"], run["measured"]
                found.append(
                    Ran(
                        predicted["memory"], measured["peak_bytes"],
                        predicted["seconds"], measured["seconds"],
                    )
                )  # fmt: skip
    return found


def correction() -> Correction | None:
    """What was learned on this machine, None where nothing was."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Correction(**json.loads((folder() / LEARNED).read_text(encoding="utf-8")))
    return None


def _write(path: Path, value: Any) -> None:
    """At once or not at all; nothing here must last, so nothing waits for the disk."""
    new = path.with_name(f".{path.name}-{os.getpid()}")
    new.write_text(store.to_json(value), encoding="utf-8")
    new.replace(path)


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("run-*.json"), key=lambda file: file.stat().st_mtime)
