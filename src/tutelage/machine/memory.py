"""Memory of this process and this machine, in bytes: resident now, peak of a block, available.

    with Peak() as peak:
        work()
    peak.bytes          # highest resident set within the block
    peak.above          # the same, above what was resident when the block began

Linux measures exactly through /proc; elsewhere a thread samples. CUDA memory, if used, is added.
Knows what exhausted memory looks like, nothing of what is measured, and does not import torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

SAMPLE_SECONDS = 0.02
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_GROUPS = Path("/proc/self/cgroup")
_CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number beyond this where there is no limit."""


class Peak:
    """Highest memory of this process within a `with` block. Blocks may not overlap: Linux keeps
    one high-water mark a process, and entering a block resets it."""

    def __init__(self) -> None:
        self.before = 0
        self.bytes = 0
        self._sampler: _Sampler | None = None

    @property
    def above(self) -> int:
        """Peak above what was resident when the block began; 0 if it never rose."""
        return max(self.bytes - self.before, 0)

    def __enter__(self) -> Peak:
        cuda = _cuda()
        if cuda is not None:
            cuda.reset_peak_memory_stats()
        if not _reset_high_water():
            self._sampler = _Sampler()
            self._sampler.start()
        self.before = resident() + (cuda.memory_allocated() if cuda else 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        peak = self._sampler.finish() if self._sampler else _status("VmHWM")
        cuda = _cuda()
        self.bytes = max(peak or 0, resident())
        if cuda is not None:
            self.bytes += cuda.max_memory_allocated()


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc, malloc.h"""

KEPT_PRODUCTS = 64
"""A layer with low-rank updates, forward and backward, has about 30 different products."""


def resident() -> int:
    """Bytes of this process in physical memory now (elsewhere than on Linux: its peak so far)."""
    return _status("VmRSS") or _highest()


def release() -> None:
    """Give freed memory back to the system, so that what is resident is what is used: the C
    library otherwise keeps what a finished model leaves, gigabytes of it, for later."""
    gc.collect()
    trim()


def trim() -> None:
    """The same of what is known to be free, which takes milliseconds."""
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, this process reuses freed memory of any size; at the end all of it is given back.

    By default the C library returns arrays above 32 MB at once, and the system fills each new one
    with zeros, which takes a tenth of a step that trains all weights.
    """
    _keep_up_to(2**30)
    try:
        yield
    finally:
        _keep_up_to(2**25)  # where its own adaptation ends
        release()


def keep_few_products() -> None:
    """Let oneDNN, and torch around it, each keep what they made for `KEPT_PRODUCTS` shapes of a
    bfloat16 product; only before the first of the process. What the user set before stays.

    By default each keeps 1,024, up to a megabyte a shape. Tokens are not padded here, so a step's
    shapes hardly come again after it, while a layer's come again in the next layer: 150 steps of a
    tiny model take 0.43 GB instead of 1.26 GB, in the same time.
    """
    with contextlib.suppress(OSError, AttributeError):  # no C library to set it in
        setenv = ctypes.CDLL(None).setenv  # what C reads; os.environ would be our own switch
        for name in (b"ONEDNN_PRIMITIVE_CACHE_CAPACITY", b"LRU_CACHE_CAPACITY"):
            setenv(name, str(KEPT_PRODUCTS).encode(), 0)


def _keep_up_to(size: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, size)


def highest() -> int:
    """Highest resident bytes since the process began or since the last `Peak` block began."""
    return _status("VmHWM") or _highest()


EXHAUSTED = ("can't allocate memory", "DefaultCPUAllocator", "Cannot allocate memory")
"""What torch and files that are mapped say, in a plain error, when memory is exhausted."""


def is_exhausted(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True  # torch's, of a GPU
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and any(
        text in str(error) for text in EXHAUSTED
    )


def total() -> int:
    """Physical memory of the machine, or the limit of a container around us if that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for limit, _ in _containers())])


def available() -> int:
    """Bytes that can be had now without swapping: the kernel's estimate, within the containers
    around this process and the limits that it was given (`ulimit -v`, `ulimit -d`)."""
    free = _meminfo("MemAvailable")
    if free is None:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limits = [*_containers(), *_process_limits()]
    return min([free, *(max(limit - used, 0) for limit, used in limits)])


class _Sampler(threading.Thread):
    """Reads the resident set now and then, where the system keeps no high-water mark to reset."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="memory-sampler")
        self._stop_asked = threading.Event()
        self._peak = resident()

    def run(self) -> None:
        while not self._stop_asked.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, resident())

    def finish(self) -> int:
        self._stop_asked.set()
        self.join()
        return self._peak


def _reset_high_water() -> bool:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _status(key: str) -> int | None:
    return _kilobytes(_STATUS, key)


def _meminfo(key: str) -> int | None:
    return _kilobytes(Path("/proc/meminfo"), key)


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _highest() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _process_limits() -> Iterator[tuple[int, int]]:
    """What this process may take, and has: addresses, and data of its own."""
    for which, key in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, used = resource.getrlimit(which)[0], _status(key)
        if limit != resource.RLIM_INFINITY and used is not None:
            yield limit, used


def _containers() -> Iterator[tuple[int, int]]:
    """The limit and the use of each control group around this process that has a limit."""
    for folder in _groups():
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < NO_LIMIT:
            used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
            yield limit, used or 0


def _groups() -> Iterator[Path]:
    """Folders of the control groups of memory that this process is in, each from the outermost:
    of version 2, which `/proc` lists as `0::/a/b`, and of version 1, `4:memory:/a/b`."""
    paths = {"": "/", "memory": "/"}
    with contextlib.suppress(OSError, ValueError):
        for line in _GROUPS.read_text(encoding="utf-8", errors="replace").splitlines():
            _, kind, path = line.split(":", 2)
            if kind in paths:
                paths[kind] = path
    for kind, path in paths.items():
        folder = _CGROUP / kind
        yield folder
        for name in filter(None, path.split("/")):
            folder /= name
            yield folder


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _cuda() -> Any:
    """torch.cuda if this process has used it, else None; torch is never imported for this."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda
    return None
