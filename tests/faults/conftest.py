"""Tiny models are fastest on one thread; runs that are killed are forked from a warm process."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parity.conftest import one_thread

__all__ = ["one_thread"]

KILLED = -signal.SIGKILL
OWN_MOUNTS = ("unshare", "-rm")
"""Runs a program where it may mount file systems, which no other process sees."""


class Zygote:
    """Runs forked from one process that has imported everything (`zygote.py`)."""

    def __init__(self, root: Path, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.folder = folder
        self.errors = folder / "stderr"
        self.place = "-"
        self.can_mount = _can_mount(folder)
        self._numbers = itertools.count()
        self._warm: set[str] = set()
        module = [sys.executable, "-m", "tests.faults.zygote"]
        with self.errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [*OWN_MOUNTS, *module] if self.can_mount else module,
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def warm(self, work: str) -> None:
        """Let it do this work once itself, so that each run of it is quick."""
        if work not in self._warm:
            self.ask(warm=work)
            self._warm.add(work)

    def run(self, out: Path, work: str, kill_at: int | str = 0, kill_after: float = 0.0) -> int:
        """The exit code of one run, KILLED if it was; `place` says where."""
        code = self._run(out, work, kill_at, kill_after)
        assert code in (0, KILLED), self.errors.read_text()
        return code

    def failing(self, out: Path, work: str) -> str:
        """What one run says that fails."""
        before = self.errors.stat().st_size
        assert self._run(out, work, 0, 0.0) == 1
        return self.errors.read_text()[before:]

    def _run(self, out: Path, work: str, kill_at: int | str, kill_after: float) -> int:
        said = self.ask(run=work, out=str(out), kill_at=kill_at, kill_after=kill_after)
        self.place = said["place"]
        return int(said["code"])

    def start(
        self, arguments: Sequence[str], limit: int | None = None, held: bool = False
    ) -> Started:
        """`tutelage ARGUMENTS`, none of whose files may pass `limit` bytes; if held, it stands
        still once it is about to write what must last."""
        stdout, stderr = (self.folder / f"{next(self._numbers)}" for _ in range(2))
        files = {"stdout": str(stdout), "stderr": str(stderr)}
        pid = self.ask(start=list(arguments), **files, limit=limit, held=held)["pid"]
        return Started(self, pid, stdout, stderr)

    def called(
        self, arguments: Sequence[str], limit: int | None = None
    ) -> tuple[int, dict[str, Any], str]:
        """Exit code of `tutelage ARGUMENTS`, the one object on stdout, and stderr."""
        one = self.start(arguments, limit)
        code = one.wait()
        return code, json.loads(one.stdout.read_text()), one.stderr.read_text()

    def shell(self, *arguments: str | Path) -> None:
        """Another program, where the runs are: it sees what is mounted there."""
        assert self.ask(shell=[str(one) for one in arguments])["code"] == 0, self.errors.read_text()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        said = self.process.stdout.readline()
        assert said, self.errors.read_text()
        return dict(json.loads(said))


@dataclass(frozen=True)
class Started:
    """A command at work."""

    zygote: Zygote
    pid: int
    stdout: Path
    stderr: Path

    def poll(self) -> int | None:
        """Its exit code, None while it runs. Once it has one it may not be asked again."""
        code: int | None = self.zygote.ask(poll=self.pid, wait=False)["code"]
        return code

    def wait(self) -> int:
        return int(self.zygote.ask(poll=self.pid, wait=True)["code"])

    def send(self, number: int) -> None:
        os.kill(self.pid, number)


def _can_mount(folder: Path) -> bool:
    try:
        script = 'mount -t tmpfs none "$1"'
        done = subprocess.run([*OWN_MOUNTS, "sh", "-c", script, "sh", str(folder)])
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="session")
def zygote(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(root, tmp_path_factory.mktemp("zygote"))
    yield made
    assert made.process.stdin is not None and made.process.stdout is not None
    made.process.stdin.close()
    made.process.wait(timeout=120)
    made.process.stdout.close()


@pytest.fixture
def disk(zygote: Zygote, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which only what the zygote runs sees; to be remounted smaller, or
    read-only."""
    if not zygote.can_mount:
        pytest.skip("no right to mount a file system of one's own")
    folder = tmp_path / "disk"
    folder.mkdir()
    zygote.shell("mount", "-t", "tmpfs", "-o", "size=64m", "none", folder)
    yield folder
    zygote.shell("umount", folder)


def remount(zygote: Zygote, disk: Path, options: str) -> None:
    zygote.shell("mount", "-o", f"remount,{options}", disk)
