"""A process that has imported everything and forks one run per line of its input.

    OUT WORK KILL_AT KILL_AFTER   ->   EXIT_CODE, -9 if killed

WORK is a method of tuning, or the file of a project to run as a whole. KILL_AT n > 0: the run kills
itself with SIGKILL before its n-th durable operation; -1: it counts them. KILL_AFTER seconds it is
killed from outside; 0: never. Forking spares each run the seconds of importing torch.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.unit.train.rows import SOURCE, config, rows_of, tuned
from tutelage import store
from tutelage.checkpoints.open import open_checkpoint
from tutelage.lifecycle import compose
from tutelage.lifecycle import run as life
from tutelage.lifecycle.project import find
from tutelage.text.render import Renderer
from tutelage.train import tune as module

# What every tuning would find out anew: the rows' tokens.
KNOWN = module.examples_of(rows_of(), Renderer(open_checkpoint(SOURCE).tokenizer), 512)

SAVE_SECONDS = 1e-9
"""Save after every step."""


def run(out: Path, work: str, kill_at: int) -> None:
    done = 0

    def kill(operation: str, path: Path) -> None:
        nonlocal done
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store.before = kill
    if work.endswith(".toml"):
        project(Path(work), out)
    else:
        module.examples_of = lambda *given, **named: KNOWN
        tuned(out, config(method=work, save_seconds=SAVE_SECONDS))
    if kill_at < 0:
        out.with_name(out.name + ".operations").write_text(str(done))


def project(file: Path, out: Path) -> None:
    """`tutelage run` of a project, on one thread."""
    settings = compose._config
    compose._config = lambda given: settings(given).model_copy(
        update={"save_seconds": SAVE_SECONDS}
    )
    plan = find(file)
    life.run(plan, out=out, tools=compose.real_tools(plan, device="cpu", dtype="fp32", threads=1))


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tuned(Path(folder) / "out", config(steps=1))  # torch imports more at the first step
    for line in sys.stdin:
        out, work, kill_at, kill_after = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                run(Path(out), work, int(kill_at))
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(wait(pid, float(kill_after)), flush=True)


def wait(pid: int, kill_after: float) -> int:
    """The exit code of a child that is killed once its time is over. Only whoever waits for a child
    may kill it: until then its number belongs to nobody else."""
    begun = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if kill_after and time.monotonic() - begun > kill_after:
            os.kill(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
