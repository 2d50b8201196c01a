"""Hostile programs do no harm, by any set of layers that is enough; honest ones end well."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tutelage.errors import ConfigError
from tutelage.sandbox.limits import LAYERS, PROTECTIONS, Limits, Outcome
from tutelage.sandbox.run import run
from tutelage.sandbox.seccomp import program

PATIENT = Limits(cpu_seconds=60, wall_seconds=120)
SPINNING = Limits(cpu_seconds=1)
"""For what ends by its processor time alone; all else has as much as any machine needs."""
WITHOUT_NAMESPACES = tuple(name for name in LAYERS if "namespace" not in name)
WITHOUT_FILTERS = tuple(name for name in LAYERS if name not in ("landlock", "seccomp"))


def _enough(layers: tuple[str, ...]) -> bool:
    with contextlib.suppress(ConfigError):
        run("", PATIENT, layers=layers)
        return True
    return False


@pytest.fixture(scope="module", params=[LAYERS, WITHOUT_NAMESPACES, WITHOUT_FILTERS], ids=len)
def layers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """All, and each half alone: what some machines lack."""
    if not _enough(request.param):
        pytest.skip("this machine lacks one of these layers")
    return tuple(request.param)


def test_this_machine_has_enough_layers() -> None:
    assert _enough(LAYERS), "no user namespaces and no Landlock or seccomp: nothing can be run here"


def test_an_honest_program_comes_to_its_end(layers: tuple[str, ...]) -> None:
    found = run(
        "import collections, heapq, json, math, random, re\nprint(math.comb(5, 2))", layers=layers
    )
    assert (found.status, found.stdout, found.missing) == ("finished", "10\n", ())
    assert set(found.layers) <= set(layers)


@pytest.mark.parametrize(
    "text",
    ["import os; os._exit(0)", "import sys; sys.exit(0)", "raise SystemExit", "assert 1 == 2",
     "def f(", "import os, signal; os.kill(os.getpid(), 9)"],
)  # fmt: skip
def test_only_the_end_counts_as_the_end(text: str, layers: tuple[str, ...]) -> None:
    assert run(text, PATIENT, layers=layers).status != "finished"


def test_a_reason_is_told_without_our_own_frames(layers: tuple[str, ...]) -> None:
    found = run("x = 1\nassert x == 2, 'two'", layers=layers)
    assert "AssertionError: two" in found.stderr and "inside.py" not in found.stderr


def test_forks_stop_at_the_cap(layers: tuple[str, ...]) -> None:
    found = run(
        "import os\nn = 0\nwhile n < 4000:\n    if os.fork() == 0: n = 0\n    n += 1",
        Limits(cpu_seconds=5, wall_seconds=60), layers=layers,
    )  # fmt: skip
    assert found.status in ("failed", "timed out")
    assert "BlockingIOError" in found.stderr or "PermissionError" in found.stderr


def test_no_network(layers: tuple[str, ...]) -> None:
    reached = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.1)
        found = run(
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)", PATIENT,
            layers=layers,
        )  # fmt: skip
        with contextlib.suppress(TimeoutError):
            reached.append(server.accept())
    assert found.status == "failed" and not reached
    assert "Error" in found.stderr


def test_files_of_people_are_not_read(layers: tuple[str, ...], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a key")
    secret.chmod(0o644)
    for place in (secret, Path(__file__), Path("/etc/passwd"), Path("/proc/1/environ")):
        found = run(f"print(open({str(place)!r}).read())", PATIENT, layers=layers)
        assert found.status == "failed" and "a key" not in found.stdout
    home = run("import os; print(os.listdir(os.path.expanduser('~')))", PATIENT, layers=layers)
    assert home.status == "failed" or "[" not in home.stdout or ".." not in home.stdout
    assert not run("import os; print(dict(os.environ))", layers=layers).stdout.count("HOME")


def test_nothing_is_written_outside(layers: tuple[str, ...], tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for place in (
        tmp_path / "x",
        Path(tempfile.gettempdir(), "was-here"),
        Path("/usr/lib/was-here"),
    ):
        found = run(f"open({str(place)!r}, 'w').write('x')", PATIENT, layers=layers)
        assert found.status == "failed" and not place.exists()
    kept = tmp_path / "kept"
    kept.write_text("kept")
    kept.chmod(0o666)
    run(f"import os; os.truncate({str(kept)!r}, 0)", PATIENT, layers=layers)
    run(f"import os; os.chmod({str(kept)!r}, 0)", PATIENT, layers=layers)
    run(f"import os; os.remove({str(kept)!r})", PATIENT, layers=layers)
    assert kept.read_text() == "kept" and kept.stat().st_mode & 0o777 == 0o666


def test_a_scratch_folder_is_small_and_gone_afterwards(layers: tuple[str, ...]) -> None:
    text = "open('x', 'w').write('a'); print(open('x').read())"
    found = run(text, layers=layers)
    if "mount namespace" not in layers:
        assert found.status == "failed", "without a root of one's own nothing may be written"
        return
    assert found.stdout == "a\n"
    assert run("import os; print(os.listdir('.'))", layers=LAYERS).stdout == "[]\n"
    big = "for n in range(99):\n    open(f'{n}', 'wb').write(bytes(1 << 20))"
    assert "Error" in run(big, Limits(file_bytes=1 << 22), layers=layers).stderr


def test_endless_loops_end(layers: tuple[str, ...]) -> None:
    assert run("while True: pass", SPINNING, layers=layers).status == "timed out"
    sleeping = Limits(wall_seconds=1)
    assert run("import time; time.sleep(99)", sleeping, layers=layers).status == "timed out"
    closed = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(99)"
    assert run(closed, sleeping, layers=layers).status == "timed out"


def test_memory_threads_and_printing_have_caps(layers: tuple[str, ...]) -> None:
    assert "MemoryError" in run("x = bytearray(1 << 40)", PATIENT, layers=layers).stderr
    grown = "x = []\nwhile True: x.append(bytearray(1 << 24))"
    assert "MemoryError" in run(grown, PATIENT, layers=layers).stderr
    threads = (
        "import threading, time\nfor n in range(999):\n"
        "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    )
    assert run(threads, PATIENT, layers=layers).status == "failed"
    found = run("while True: print('x' * 9999)", PATIENT, layers=layers)
    assert found.status in ("too much output", "timed out")
    assert len(found.stdout) <= PATIENT.output_bytes


def test_other_processes_are_safe(layers: tuple[str, ...]) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"]) as other:
        for pid in (other.pid, os.getpid(), os.getppid()):
            run(f"import os; os.kill({pid}, 15)", PATIENT, layers=layers)
        run("import os; os.kill(os.getppid(), 9)", PATIENT, layers=layers)
        run("import os; os.kill(-1, 9)", PATIENT, layers=layers)
        alive = other.poll() is None
        other.kill()
    assert alive
    if "seccomp" in layers or "mount namespace" not in layers:
        found = run("import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])", layers=layers)
        assert found.status == "failed"


def test_a_forged_mark_is_none(layers: tuple[str, ...]) -> None:
    text = (
        "import os\nfor place in range(3, 64):\n    try: os.write(place, b'x' * 32)\n"
        "    except OSError: pass\nos._exit(0)"
    )
    assert run(text, PATIENT, layers=layers).status == "failed"


def test_a_missing_protection_is_refused_and_named() -> None:
    for name, by in PROTECTIONS.items():
        layers = tuple(layer for layer in LAYERS if layer not in by)
        with pytest.raises(ConfigError) as raised:
            run("print('ran')", PATIENT, layers=layers)
        assert raised.value.field == "--sandbox" and name in str(raised.value.got)
        assert "--sandbox weak" in str(raised.value.hint)
    found = run("print('ran')", PATIENT, layers=("rlimits",), weak=True)
    assert found.stdout == "ran\n" and found.missing == ("network", "files", "processes")


def test_programs_run_side_by_side() -> None:
    found: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(run(f"print({n})"))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.stdout for one in found) == [f"{n}\n" for n in range(4)]


def test_the_filter_refuses_what_it_names() -> None:
    """Read as the kernel reads it: a classic BPF machine of five instructions."""
    import struct

    for machine, architecture, socket_number, read in (
        ("x86_64", 0xC000003E, 41, 0), ("aarch64", 0xC00000B7, 198, 63),
    ):  # fmt: skip
        code = program(machine)
        lines = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]

        def verdict(number: int, first: int = 0, of: int = architecture) -> int:
            at, held = 0, 0
            while True:
                kind, yes, no, value = lines[at]  # noqa: B023
                at += 1
                if kind == 0x20:
                    held = {0: number, 4: of, 16: first}[value]
                elif kind == 0x06:
                    return int(value)
                else:
                    true = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}
                    at += yes if true[kind] else no

        assert verdict(read) == 0x7FFF0000
        assert verdict(socket_number) == 0x50001
        assert verdict(read, of=3) == 0x80000000
        assert verdict(435) == 0x50026
        clone, prlimit = (56, 302) if machine == "x86_64" else (220, 261)
        assert verdict(clone, 0x10000 | 17) == 0x7FFF0000 and verdict(clone, 17) == 0x50001
        assert verdict(prlimit, 0) == 0x7FFF0000 and verdict(prlimit, 7) == 0x50001
