"""`tutelage doctor`: what this machine and installation can do, and what is wrong with them."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

TORCH = (2, 13)
DISK_NEEDED = 2_000_000_000
"""What the quickstart writes: the downloaded model, caches and checkpoints, with room to spare."""
MEMORY_NEEDED = 5_000_000_000
"""What the quickstart's dearest rung needs (full tuning of a 135M model)."""


def doctor(*, folder: Path | None = None, shared: Shared | None = None) -> dict[str, Any]:
    """Say what this machine can do and what stands in the way.

    Parameters
    ----------
    folder
        Where runs will be written; the current folder if not given.
    """
    shared = shared or Shared()
    place = folder or Path.cwd()
    if not place.is_dir():
        raise ConfigError("no such folder", field="--folder", got=place, expected="a folder")
    disk_free = shutil.disk_usage(place).free
    found: dict[str, Any] = {
        "python": platform.python_version(),
        **_compute(shared),
        "disk_free": disk_free,
    }
    found["problems"] = [*found.pop("problems"), *_memory(), *_disk(disk_free, place), *_tools()]
    return found


def show(result: dict[str, Any]) -> None:
    """Print the findings as a table, problems last."""
    from rich.console import Console
    from rich.table import Table

    from tutelage.machine import describe, memory

    table = Table(show_header=False, box=None)
    table.add_row("processor", f"{describe.processor()}, {describe.cores()} cores")
    table.add_row(
        "memory", f"{memory.total() / 1e9:.1f} GB, {memory.available() / 1e9:.1f} GB free"
    )
    table.add_row("disk", f"{result['disk_free'] / 1e9:.1f} GB free")
    table.add_row("Python", result["python"])
    table.add_row("torch", result["torch"] or "missing")
    if result["device"]:
        table.add_row("computes on", f"{result['device']} in {result['dtype']}")
        table.add_row("multiplies", f"{result['gemm_flops'] / 1e12:.2f} TFLOP/s")
        table.add_row("reads", f"{result['bandwidth_bytes_per_second'] / 1e9:.1f} GB/s")
    console = Console()
    console.print(table)
    for problem in result["problems"]:
        console.print(f"- {problem}", markup=False)
    if not result["problems"]:
        console.print("no problems found")


def _compute(shared: Shared) -> dict[str, Any]:
    """Torch, placement and measured speed; where torch is broken, nulls and the reason."""
    from tutelage.machine.describe import package_version

    torch_version = package_version("torch")
    empty = {"device": None, "dtype": None, "gemm_flops": None, "bandwidth_bytes_per_second": None}
    try:
        from tutelage.machine.speed import bandwidth, gemm_flops
    except (ImportError, OSError) as error:
        return {"torch": torch_version, **empty, "problems": [f"torch cannot be imported: {error}"]}
    placement = shared.placement()
    return {
        "torch": torch_version,
        "device": placement.device,
        "dtype": placement.dtype,
        "gemm_flops": gemm_flops(placement.dtype, placement.device),
        "bandwidth_bytes_per_second": bandwidth(placement.device),
        "problems": _torch(torch_version),
    }


def _torch(version: str | None) -> list[str]:
    parts = tuple(int(part) for part in (version or "0.0").split("+")[0].split(".")[:2])
    if parts >= TORCH:
        return []
    needed = ".".join(map(str, TORCH))
    return [f"torch {version} is older than {needed}: results may differ or fail"]


def _memory() -> list[str]:
    from tutelage.machine.memory import available

    free = available()
    if free >= MEMORY_NEEDED:
        return []
    return [
        f"{free / 1e9:.1f} GB of memory available; tuning all weights of a 135M model takes "
        f"about {MEMORY_NEEDED / 1e9:.0f} GB: use rungs up to lora, or set budget.memory_gb"
    ]


def _disk(free: int, folder: Path) -> list[str]:
    if free >= DISK_NEEDED:
        return []
    return [
        f"{free / 1e9:.1f} GB of disk free at {folder}; a run writes up to "
        f"{DISK_NEEDED / 1e9:.0f} GB: choose another folder with --out"
    ]


def _tools() -> list[str]:
    from tutelage.kernels.library import library

    if library() is not None:
        return []
    return [
        "the C++ kernels were not built: training and answering are several times slower; install "
        "a C++ compiler with OpenMP and install Tutelage again"
    ]
