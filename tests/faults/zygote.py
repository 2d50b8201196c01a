"""A process that has imported everything and forks one tuning run per line of its input.

    OUT METHOD KILL_AT KILL_AFTER   ->   EXIT_CODE, -9 if killed

KILL_AT n > 0: the run kills itself with SIGKILL before its n-th durable operation; -1: it counts
them. KILL_AFTER seconds it is killed from outside; 0: never. Forking spares each run the seconds of
importing torch.
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
from tutelage.text.render import Renderer
from tutelage.train import tune as module

SAVE_SECONDS = 1e-9
"""Save after every step."""


def run(out: Path, method: str, kill_at: int) -> None:
    done = 0

    def kill(operation: str, path: Path) -> None:
        nonlocal done
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store.before = kill
    tuned(out, config(method=method, save_seconds=SAVE_SECONDS))
    if kill_at < 0:
        out.with_name(out.name + ".operations").write_text(str(done))


def main() -> None:
    torch.set_num_threads(1)
    # What every run would find out anew: the rows' tokens, and the speed of this machine.
    checkpoint = open_checkpoint(SOURCE)
    known = module.examples_of(rows_of(), Renderer(checkpoint.tokenizer), 512)
    module.examples_of = lambda *given, **named: known
    with tempfile.TemporaryDirectory() as folder:
        tuned(Path(folder) / "out", config(steps=1))  # torch imports more at the first step
    for line in sys.stdin:
        out, method, kill_at, kill_after = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                run(Path(out), method, int(kill_at))
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
