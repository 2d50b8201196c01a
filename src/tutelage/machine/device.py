"""Where to compute and in which number format, resolved once from what the user asked.

Knows what this machine's processors can do; knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from tutelage.errors import ConfigError
from tutelage.machine.describe import cores, cpuinfo
from tutelage.machine.memory import keep_few_products

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BF16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags in /proc/cpuinfo of bfloat16 multiply units; plain `bf16` is ARM's name."""


@dataclass(frozen=True)
class Placement:
    """A device and a number format that exist here. `dtype` is fp32, bf16 or fp16."""

    device: str
    dtype: str


def resolve(device: str = "auto", dtype: str = "auto", exact: bool = False) -> Placement:
    """Settle `auto`: cuda, then mps, then cpu; bf16 where it has units, else fp32.

    `exact` means fp32. Raises ConfigError if the device is not here or `exact` contradicts dtype.
    """
    device = _device(device)
    if exact and dtype not in ("auto", "fp32"):
        raise ConfigError(
            "--exact computes in fp32", field="--dtype", got=dtype, expected="fp32 or auto"
        )
    if exact:
        dtype = "fp32"
    elif dtype == "auto":
        dtype = "bf16" if has_bf16_units(device) else "fp32"
    elif dtype not in DTYPES:
        raise ConfigError(
            f"unknown dtype {dtype!r}", field="--dtype", got=dtype, expected=", ".join(DTYPES)
        )
    return Placement(device, dtype)


def has_bf16_units(device: str) -> bool:
    """Whether multiplying in bfloat16 is done by hardware and not emulated."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if device == "cpu":
        flags = f"{cpuinfo('flags') or ''} {cpuinfo('Features') or ''}".split()
        return not CPU_BF16_UNITS.isdisjoint(flags)
    return False


@cache
def bfloat16_is_slow() -> bool:
    """Whether this processor multiplies bfloat16 itself, yet slower than float32: Intel's with the
    instruction (AVX512-BF16) and without the units for tiles (AMX)."""
    flags = (cpuinfo("flags") or "").split()
    own = cpuinfo("vendor_id") == "GenuineIntel" and "avx512_bf16" in flags
    return own and "amx_bf16" not in flags


def multiplied_in(placement: Placement) -> str:
    """The type of large products: float32 where numbers are bfloat16 and that is slow."""
    slow = placement == Placement("cpu", "bf16") and bfloat16_is_slow()
    return "fp32" if slow else placement.dtype


def use_threads(threads: int | None) -> int:
    """Let torch compute with this many threads (all cores this process may use if None), and not
    keep more of its products than it uses again."""
    keep_few_products()
    count = threads or cores()
    torch.set_num_threads(count)
    return count


def _device(device: str) -> str:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, here in available.items() if here)
    if device not in available:
        raise ConfigError(
            f"unknown device {device!r}",
            field="--device",
            got=device,
            expected="auto, cpu, cuda, mps",
        )
    if not available[device]:
        here = [name for name, found in available.items() if found]
        raise ConfigError(
            f"no {device} device on this machine",
            field="--device",
            got=device,
            expected="one of " + ", ".join(["auto", *here]),
            hint=_why_no_cuda() if device == "cuda" else None,
        )
    return device


def _why_no_cuda() -> str | None:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) was built without CUDA"
    return None
