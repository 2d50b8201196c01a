"""How fast this machine is, measured: multiplications a second, and bytes read a second.

Both are medians of several runs, because machines drift. Their quotient tells which of the two
limits a piece of work (the roofline of Williams et al. 2009, doi:10.1145/1498765.1498785).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from tutelage.machine.device import DTYPES
from tutelage.machine.memory import available

RUNS = 7


def gemm_flops(dtype: str = "fp32", device: str = "cpu", size: int | None = None) -> float:
    """Floating-point operations a second of C = A B with square matrices: 2 n^3 / median seconds.

    `size` is n; by default one that takes some hundredths of a second on this kind of device.
    """
    n = size or (8192 if device == "cuda" else 2048 if dtype != "fp32" else 1024)
    if size is None and (device, dtype) == ("cpu", "fp16"):
        n = 512  # few processors multiply in float16; the others take a hundred times as long
    a = torch.randn(n, n, device=device).to(DTYPES[dtype])
    b = torch.randn(n, n, device=device).to(DTYPES[dtype])
    return 2 * n**3 / median_seconds(lambda: a @ b, device)


def bandwidth(device: str = "cpu", size: int | None = None) -> float:
    """Bytes a second read from memory, by summing an array of `size` bytes.

    By default 1 GB, or an eighth of what is available if that is less: past any cache.
    """
    count = (size or min(10**9, available() // 8)) // 4
    array = torch.ones(count, device=device)
    return 4 * count / median_seconds(array.sum, device)


def median_seconds(work: Callable[[], object], device: str = "cpu", runs: int = RUNS) -> float:
    """Median wall time of `work` after one run that is not counted."""
    seconds = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def _wait(device: str) -> None:
    """Let an asynchronous device finish what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
