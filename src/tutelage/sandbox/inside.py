"""What runs in the child: shut every door, then run the program.

    python -I -S -B -c "... main()"    # an order as JSON on stdin

Three processes: one in the outer world, one that is the first of the inner world (if it ends, the
kernel ends all others there), and the program's own. The program leaves a mark in a pipe when it
has come to its end; an exit code says nothing, because any line can end a process with 0.
Standard library alone. Nothing of tutelage stays importable for the program.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from tutelage.sandbox import landlock, namespaces, seccomp
from tutelage.sandbox.kernel import DIE_WITH_PARENT, NO_NEW_PRIVILEGES, drop_privileges, prctl

Order = dict[str, Any]


def main() -> NoReturn:
    """Read the order, isolate, run. The first line of the report says which layers held."""
    order: Order = json.loads(sys.stdin.buffer.read())
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    held = _outer(order)
    first = os.fork()
    if first:
        os._exit(_waited(first))
    _follow_parent()
    own = os.fork()
    if own:
        os.close(order["report"])
        os._exit(_waited(own))
    _follow_parent()
    held += _inner(order, held)
    _report(order["report"], json.dumps(held) + "\n")
    missing = [name for name, layers in order["required"].items() if not set(layers) & set(held)]
    if missing:
        os._exit(1)
    _run(order["program"], order["report"], order["mark"])


def _outer(order: Order) -> list[str]:
    """Namespaces, as far as they are wanted and to be had."""
    names = ("network namespace", "process namespace")
    if not set(order["layers"]) & {*names, "mount namespace"}:
        return []
    try:
        namespaces.enter()
    except OSError:
        return []
    held = [name for name in names if name in order["layers"]]
    if "mount namespace" in order["layers"]:
        with contextlib.suppress(OSError):
            namespaces.new_root(order["root"], order["readable"], order["file_bytes"])
            held.append("mount namespace")
    return held


def _inner(order: Order, held: list[str]) -> list[str]:
    """What the program's own process gives up: the user, limits, files, calls."""
    scratch = [namespaces.SCRATCH] if "mount namespace" in held else []
    if os.getuid() == 0 and scratch:
        # The kernel does not hold root to its number of threads, nor to permissions of files.
        # Elsewhere nobody may be unable to read the interpreter.
        os.setgroups([])
        os.setresgid(*3 * (namespaces.NOBODY,))
        os.setresuid(*3 * (namespaces.NOBODY,))
    drop_privileges()
    prctl(NO_NEW_PRIVILEGES, 1)
    if not scratch:
        # There is no folder of its own: nothing may be written.
        os.chdir("/")
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("rlimits", lambda: _limit(order)),
        ("landlock", lambda: landlock.restrict(order["readable"], scratch)),
        ("seccomp", seccomp.install),
    )
    found = []
    for name, step in steps:
        if name in order["layers"]:
            with contextlib.suppress(OSError, ValueError):
                step()
                found.append(name)
    return found


def _limit(order: Order) -> None:
    for kind, most in (
        (resource.RLIMIT_CPU, order["cpu_seconds"]),
        (resource.RLIMIT_AS, order["memory_bytes"]),
        (resource.RLIMIT_FSIZE, order["file_bytes"]),
        (resource.RLIMIT_NPROC, order["threads"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _run(program: str, report: int, mark: str) -> NoReturn:
    """The program as a main module, behind modules that nobody of ours is left in."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tutelage"]:
        del sys.modules[name]
    sys.path[:] = [place for place in sys.path if "site-packages" not in place][1:]
    sys.argv = ["program"]
    sys.setrecursionlimit(10_000)
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
    except BaseException as error:
        with contextlib.suppress(BaseException):
            own = error.__traceback__ and error.__traceback__.tb_next
            sys.stderr.write("".join(traceback.format_exception(type(error), error, own)))
            sys.stderr.flush()
        os._exit(1)
    _report(report, mark)
    os._exit(0)


def _report(place: int, text: str) -> None:
    os.write(place, text.encode())


def _follow_parent() -> None:
    """If whoever waits for this process ends, it ends too."""
    prctl(DIE_WITH_PARENT, signal.SIGKILL)


def _waited(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) & 0x7F
