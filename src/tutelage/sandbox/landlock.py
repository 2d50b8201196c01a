"""Files by Landlock: a process gives up all but a few folders, without any privilege.

    restrict(readable=["/usr/lib"], writable=["/scratch"])

Linux 5.13 and later (man 7 landlock); later versions also give up TCP, and signals to others.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from tutelage.sandbox.kernel import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ = 1 | 4 | 8
"""Execute (what loading a library counts as), read a file, list a folder."""
_OLDEST = 3
"""The first version that holds truncation too."""
_FILES = {3: (1 << 15) - 1, 4: (1 << 15) - 1}
_TCP, _OTHERS = 3, 3


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """The calling process reads `readable`, changes `writable`, and no other file.

    Raises OSError where the kernel has no Landlock, or one that leaves holes.
    """
    version = syscall(_CREATE, None, 0, 1)
    if version < _OLDEST:
        raise OSError(f"Landlock's version is {version}, needed is {_OLDEST}")
    files = _FILES.get(version, (1 << 16) - 1)
    parts = [files] + [_TCP] * (version >= 4) + [_OTHERS] * (version >= 6)
    rules = (ctypes.c_uint64 * len(parts))(*parts)
    found = syscall(_CREATE, ctypes.byref(rules), 8 * len(parts), 0)
    for folders, allowed in ((readable, _READ), (writable, files)):
        for folder in folders:
            if Path(folder).is_dir():
                _allow(found, folder, allowed)
    syscall(_RESTRICT, found, 0)
    os.close(found)


def _allow(rules: int, folder: str, allowed: int) -> None:
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, place))
    syscall(_ADD, rules, 1, rule, 0)
    os.close(place)
