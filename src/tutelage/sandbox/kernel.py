"""Calls of the kernel that Python's library has no name for. Linux and standard library alone."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

NO_NEW_PRIVILEGES = 38
DIE_WITH_PARENT = 1


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """A function of the C library. Raises OSError with the kernel's reason."""
    return _checked(getattr(_library(), name)(*arguments), name)


def syscall(number: int, *arguments: Any) -> int:
    """A call by number. Raises OSError with the kernel's reason."""
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_library().syscall(ctypes.c_long(number), *longs), f"system call {number}")


def prctl(option: int, value: int) -> None:
    """A property of the calling process. Raises OSError."""
    call("prctl", option, ctypes.c_ulong(value), 0, 0, 0)


def drop_privileges() -> None:
    """No capability is left, whoever the user is (man 2 capset). Raises OSError."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    call("capset", ctypes.byref(header), ctypes.byref(none))


def _checked(result: int, name: str) -> int:
    if result < 0:
        reason = ctypes.get_errno()
        raise OSError(reason, f"{name}: {os.strerror(reason)}")
    return int(result)
