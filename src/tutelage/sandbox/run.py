"""Run a Python program of a stranger, and say what became of it.

    outcome = run("print(6 * 7)", Limits(cpu_seconds=2))
    outcome.status            # "finished": it came to its end
    outcome.layers            # what protected this machine while it ran

No network, no file but the interpreter's own and a scratch folder in memory, no other process in
sight, caps on processor time, memory, threads, output and time. Each protection comes from
one of several layers that the machine has; without one of them nothing is run, unless `weak`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import tutelage
from tutelage.errors import ConfigError
from tutelage.sandbox.limits import LAYERS, PROTECTIONS, Limits, Outcome, Status

_START = "import sys; sys.path.insert(0, {!r}); from tutelage.sandbox.inside import main; main()"
_PIECE = 1 << 14


def run(
    program: str,
    limits: Limits = Limits(),
    *,
    weak: bool = False,
    layers: Sequence[str] = LAYERS,
) -> Outcome:
    """One program, run to its end or to a limit; `layers` are those that may be used.

    Raises ConfigError where a protection is missing and `weak` is not set: nothing was run then.
    """
    if os.name != "posix" or sys.platform != "linux":
        raise ConfigError(
            "programs of others are only run on Linux", field="--sandbox", got=sys.platform,
            expected="linux",
        )  # fmt: skip
    mark = secrets.token_hex(16)
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as root:
        order = asdict(limits) | {
            "program": program, "report": writing, "mark": mark, "root": root,
            "readable": _readable(), "layers": list(layers),
            "required": {} if weak else dict(PROTECTIONS),
        }  # fmt: skip
        begun = time.perf_counter()
        child = _started(writing, root)
        try:
            printed, stopped = _followed(child, json.dumps(order).encode(), limits)
        finally:
            _end(child)
            said = _read_all(reading)
    seconds = time.perf_counter() - begun
    first, _, rest = said.partition("\n")
    held = tuple(json.loads(first)) if first.startswith("[") else ()
    missing = tuple(name for name, by in PROTECTIONS.items() if not set(by) & set(held))
    if missing and not weak and stopped is None:
        raise _refusal(missing, held, printed[1])
    ended: Status = "finished" if rest == mark else "failed"
    return Outcome(stopped or ended, *printed, seconds, held, missing)


def _started(writing: int, root: str) -> subprocess.Popen[bytes]:
    source = str(Path(tutelage.__file__).parent.parent)
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", _START.format(source)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        pass_fds=(writing,), env={}, cwd=root, start_new_session=True,
    )  # fmt: skip
    os.close(writing)
    return child


def _followed(
    child: subprocess.Popen[bytes], order: bytes, limits: Limits
) -> tuple[tuple[str, str], Status | None]:
    """What it printed on both ways, and the limit it went over."""
    assert child.stdin and child.stdout and child.stderr
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(order)
        child.stdin.close()
    printed = {child.stdout: bytearray(), child.stderr: bytearray()}
    stopped: Status | None = None
    deadline = time.monotonic() + limits.wall_seconds
    with selectors.DefaultSelector() as open_ways:
        for way in printed:
            open_ways.register(way, selectors.EVENT_READ)
        while open_ways.get_map() and stopped is None:
            left = deadline - time.monotonic()
            if left <= 0:
                stopped = "timed out"
                break
            for key, _ in open_ways.select(left):
                piece = os.read(key.fd, _PIECE)
                printed[key.fileobj] += piece  # type: ignore[index]
                if not piece:
                    open_ways.unregister(key.fileobj)
            if sum(map(len, printed.values())) > limits.output_bytes:
                stopped = "too much output"
    stopped = stopped or _waited(child, deadline)
    out, err = (bytes(text[: limits.output_bytes]) for text in printed.values())
    return (out.decode("utf-8", "replace"), err.decode("utf-8", "replace")), stopped


def _waited(child: subprocess.Popen[bytes], deadline: float) -> Status | None:
    """A program may close both ways of printing and go on."""
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "timed out"
    # The kernel's signals at the end of the processor time, as inside.py passes them on.
    over = {-signal.SIGXCPU & 0x7F, -signal.SIGKILL & 0x7F}
    return "timed out" if child.returncode in over else None


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for way in (child.stdin, child.stdout, child.stderr):
        if way is not None:
            with contextlib.suppress(BrokenPipeError):
                way.close()


def _read_all(reading: int) -> str:
    with os.fdopen(reading, "rb") as way:
        return way.read(_PIECE).decode("ascii", "replace")


def _readable() -> list[str]:
    """Folders of the interpreter's library and of the libraries it loads."""
    paths = sysconfig.get_paths()
    own = [paths["stdlib"], paths["platstdlib"]]
    # Of a virtual environment these are the folders it was made from.
    own += [str(Path(sys.base_prefix) / "lib")] if sys.base_prefix != "/usr" else []
    shared = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    return [place for place in dict.fromkeys([*own, *shared]) if Path(place).is_dir()]


def _refusal(missing: Sequence[str], held: Sequence[str], why: str) -> ConfigError:
    wanted = "; ".join(f"{name}: {' or '.join(PROTECTIONS[name])}" for name in missing)
    return ConfigError(
        "this machine does not protect itself from programs of others",
        field="--sandbox",
        got=f"without protection: {', '.join(missing)}; held: {', '.join(held) or 'nothing'}",
        expected=wanted,
        hint=why.strip().rpartition("\n")[2]
        or "run it where user namespaces, Landlock or seccomp are allowed, or say --sandbox weak "
        "for programs you trust",
    )
