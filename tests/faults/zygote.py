"""A process that has done a piece of work once and forks one run of it per line of its input.

    WORK                          ->   warm
    OUT WORK KILL_AT KILL_AFTER   ->   EXIT_CODE PLACE

WORK is a method of tuning, or the file of a project to run as a whole. Alone it is done here, to no
end but that all is imported and remembered that every run would find out anew: forking spares each
the seconds of that, and none sees what changes in the checkout meanwhile (its commit, its code).

KILL_AT n > 0: the run kills itself with SIGKILL before its n-th durable operation; a text: before
the first of that kind; -1: it writes down the kinds of all. KILL_AFTER seconds it is killed from
outside; 0: never. EXIT_CODE is -9 if it was killed, and PLACE where it was then (`places.py`).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.faults.places import Place, kind
from tests.unit.train.rows import config, tuned
from tutelage import store
from tutelage.lifecycle import compose
from tutelage.lifecycle import run as life
from tutelage.lifecycle.project import find
from tutelage.train import prepare as module

SAVE_SECONDS = 1e-9
"""Save after every step."""
BATCH_TOKENS = 160
"""Some three rows an update, so that a run of few rows has several."""
LEARNING_RATE = 0.005
"""Enough to learn one letter in these updates."""


def run(out: Path, work: str, kill_at: str, place: Place) -> None:
    done: list[str] = []

    def kill(operation: str, path: Path) -> None:
        done.append(kind(place.label(), operation, path))
        if kill_at in (done[-1], str(len(done))):
            os.kill(os.getpid(), signal.SIGKILL)

    place.watch()
    store.before = kill
    do(work, out)
    if kill_at == "-1":
        out.with_name(out.name + ".operations").write_text("\n".join(done))


def do(work: str, out: Path) -> None:
    if work.endswith(".toml"):
        project(Path(work), out)
    else:
        module.examples_of = rendered
        tuned(out, config(method=work, save_seconds=SAVE_SECONDS))


examples_of = module.examples_of
known: list[Any] = []


def rendered(*given: Any, **named: Any) -> Any:
    """The tokens of the rows, which are those of every run of `tuned`, found once."""
    known[:] = known or [examples_of(*given, **named)]
    return known[0]


def project(file: Path, out: Path) -> None:
    """`tutelage run` of a project, on one thread."""
    settings = compose._config
    changed = {
        "save_seconds": SAVE_SECONDS, "batch_tokens": BATCH_TOKENS, "learning_rate": LEARNING_RATE
    }  # fmt: skip
    compose._config = lambda given: settings(given).model_copy(update=changed)
    plan = find(file)
    life.run(plan, out=out, tools=compose.real_tools(plan, device="cpu", dtype="fp32", threads=1))


def warm(work: str) -> None:
    """Do the work once; what is there then is nothing each fork must search for garbage."""
    with tempfile.TemporaryDirectory() as folder:
        do(work, Path(folder) / "out")
    gc.collect()
    gc.freeze()


def main() -> None:
    torch.set_num_threads(1)
    place = Place()
    for line in sys.stdin:
        if len(line.split()) == 1:
            warm(line.strip())
            print("warm", flush=True)
            continue
        out, work, kill_at, kill_after = line.split()
        place.clear()
        pid = os.fork()
        if pid == 0:
            try:
                run(Path(out), work, kill_at, place)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(wait(pid, float(kill_after)), place.read(), flush=True)


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
