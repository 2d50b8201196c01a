"""A root folder, a network and a list of processes of one's own, by Linux namespaces.

    enter(root, readable, scratch_bytes)    # then fork: the child is process 1 of its own world

User namespaces give an ordinary user the right to do so (man 7 user_namespaces); where the
distribution forbids it, the calls fail and nothing has changed.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from tutelage.sandbox.kernel import call, syscall

NOBODY = 65534
SCRATCH = "/scratch"
_NEW = {"user": 0x10000000, "mount": 0x20000, "network": 0x40000000, "process": 0x20000000,
        "messages": 0x08000000, "name": 0x04000000}  # fmt: skip
_BIND, _RECURSIVE, _PRIVATE, _NO_SUID, _NO_DEV, _DETACH = 0x1000, 0x4000, 1 << 18, 2, 4, 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_READ_ONLY = 1 | _NO_SUID | _NO_DEV


def enter() -> None:
    """New namespaces of every kind for the caller and its children. Raises OSError."""
    ready, begin = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        # Two users can only be mapped from outside, and by root; an ordinary user maps itself.
        os.close(begin)
        right = os.read(ready, 1) == b"x" and _mapped(os.getppid())
        os._exit(0 if right else 1)
    os.close(ready)
    try:
        call("unshare", sum(_NEW.values()))
        os.write(begin, b"x")
    finally:
        os.close(begin)
        _, status = os.waitpid(mapper, 0)
    if status:
        raise PermissionError("users cannot be mapped into a namespace")


def _mapped(pid: int) -> bool:
    place = Path(f"/proc/{pid}")
    user, group = os.getuid(), os.getgid()
    both = [(user, "uid_map"), (group, "gid_map")]
    try:
        if user != 0:
            (place / "setgroups").write_text("deny")
        for number, name in both:
            nobody = f"{NOBODY} {NOBODY} 1\n" if user == 0 else ""
            (place / name).write_text(f"{number} {number} 1\n{nobody}")
    except OSError:
        return False
    return True


def new_root(root: str, readable: Sequence[str], scratch_bytes: int) -> None:
    """Everything but `readable` (read only) and an empty /scratch in memory is gone.

    Raises OSError where a file system cannot be mounted.
    """
    call("mount", None, b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    _memory(root, 1 << 20, "755")
    for path in sorted({os.path.realpath(one) for one in readable}):
        if Path(path).is_dir() and not Path(root + path).exists():
            _bound(path, root + path)
    for one in readable:
        if Path(one).is_symlink() and not Path(root + one).exists():
            Path(root + one).parent.mkdir(parents=True, exist_ok=True)
            Path(root + one).symlink_to(os.path.realpath(one))
    Path(root + SCRATCH).mkdir()
    _memory(root + SCRATCH, scratch_bytes, "1777")
    _read_only(root, recursive=False)
    os.chdir(root)
    syscall(_PIVOT_ROOT[os.uname().machine], b".", b".")
    call("umount2", b".", _DETACH)
    os.chdir(SCRATCH)


def _memory(place: str, size: int, mode: str) -> None:
    options = f"size={size},nr_inodes=1024,mode={mode}".encode()
    flags = ctypes.c_ulong(_NO_SUID | _NO_DEV)
    call("mount", b"tmpfs", place.encode(), b"tmpfs", flags, options)


def _bound(path: str, target: str) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    flags = ctypes.c_ulong(_BIND | _RECURSIVE)
    call("mount", path.encode(), target.encode(), None, flags, None)
    _read_only(target, recursive=True)


def _read_only(target: str, recursive: bool) -> None:
    # man 2 mount_setattr: attributes set, cleared, propagation, user namespace.
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)
    at = 0x8000 if recursive else 0
    syscall(_MOUNT_SETATTR, -100, target.encode(), at, ctypes.byref(attributes), 32)
