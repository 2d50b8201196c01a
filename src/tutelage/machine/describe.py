"""What this machine and this installation are, in words and bytes, without importing torch.

Plans read the processor alone and have no time for more: the rest imports what it needs.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.machine import memory


def package_version(name: str) -> str | None:
    """Version of an installed package, None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


@functools.cache
def commit() -> str | None:
    """The git commit of the checkout this package runs from, None if it runs from none."""
    import subprocess

    root = Path(__file__).resolve().parents[3]
    # Without this test a package installed inside somebody's repository would report that one.
    if not (root / ".git").exists() or not (root / "src" / "tutelage").is_dir():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def processor() -> str:
    """The processor's name as the system gives it."""
    for key in ("model name", "Model name", "Processor"):
        name = cpuinfo(key)
        if name:
            return name
    return platform.processor() or platform.machine()


@functools.cache
def cpuinfo(key: str) -> str | None:
    """First value of `key` in /proc/cpuinfo, None where there is no such file or key."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def cores() -> int:
    """Processor cores this process may use, as its affinity says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described(placed: Mapping[str, Any]) -> dict[str, Any]:
    """What records say of where something was computed: this machine, where on it the work was
    placed (device, dtype, threads), and the versions and the commit that did it."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory.total(),
        **placed,
        "python": platform.python_version(),
        "torch": package_version("torch") or "none",
        "tutelage": package_version("tutelage") or "unknown",
        "commit": commit(),
    }
