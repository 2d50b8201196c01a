"""Tiny models are fastest on one thread; runs that are killed are forked from a warm process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.conftest import one_thread

__all__ = ["one_thread"]

KILLED = -signal.SIGKILL


class Zygote:
    """Runs forked from one process that has imported everything (`zygote.py`)."""

    def __init__(self, root: Path, errors: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.errors = errors
        self.place = "-"
        with errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.zygote"],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def warm(self, work: str) -> None:
        """Let it do this work once itself, so that each run of it is quick."""
        assert self.process.stdin is not None
        print(work, file=self.process.stdin, flush=True)
        assert self._said() == "warm\n", self.errors.read_text()

    def run(self, out: Path, work: str, kill_at: int | str = 0, kill_after: float = 0.0) -> int:
        """The exit code of one run, KILLED if it was; `place` says where."""
        assert self.process.stdin is not None
        print(out, work, kill_at, kill_after, file=self.process.stdin, flush=True)
        printed, self.place = self._said().split()
        code = int(printed)
        assert code in (0, KILLED), self.errors.read_text()
        return code

    def _said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def zygote(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(root, tmp_path_factory.mktemp("zygote") / "stderr")
    yield made
    assert made.process.stdin is not None and made.process.stdout is not None
    made.process.stdin.close()
    made.process.wait(timeout=60)
    made.process.stdout.close()
