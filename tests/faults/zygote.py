"""A process that has done a piece of work once and forks one run of it per request.

Requests are JSON, one a line, and so are the answers:

    {"warm": WORK}                                        do it here         {}
    {"run": WORK, "out", "kill_at", "kill_after"}         a run of it        {"code", "place"}
    {"start": ARGUMENTS, "stdout", "stderr", "limit", "held"}  the command   {"pid"}
    {"poll": PID, "wait": BOOL}                           how it ended       {"code": CODE or null}
    {"shell": ARGUMENTS}                                  another program    {"code"}

WORK is a method of tuning, the file of a project to run as a whole, or one that describes a
pretraining, by the name `pretrain.toml`. It is done here to no end but that all is imported and
remembered that every run would find out anew: forking spares each the seconds of that, and none
sees what changes in the checkout meanwhile (its commit, its code).

kill_at n > 0: the run kills itself with SIGKILL before its n-th durable operation; a text: before
the first of that kind; -1: it writes down the kinds of all. After kill_after seconds it is killed
from outside; 0: never. The code is -9 if it was killed, and place where it was then (`places.py`).
`limit` is the size in bytes that no file of the command's may pass; one that is held stops itself
with SIGSTOP before its first durable operation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.faults.places import Place, kind
from tests.unit.train.rows import config, tuned
from tutelage import store
from tutelage.cli.main import run_command
from tutelage.config import load_toml
from tutelage.corpus.tokenize import Request
from tutelage.lifecycle import compose
from tutelage.lifecycle import run as life
from tutelage.lifecycle.project import find
from tutelage.machine.speed import gemm_flops
from tutelage.pretrain import compute, material
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import pretrain
from tutelage.train import prepare as module

Json = dict[str, Any]
SAVE_SECONDS = 1e-9
"""Save after every step."""
BATCH_TOKENS = 160
"""Some three rows an update, so that a run of few rows has several."""
LEARNING_RATE = 0.005
"""Enough to learn one letter in these updates."""
SHARD_TOKENS = 1500
"""Few, so that there are several shards."""


def run(out: Path, work: str, kill_at: int | str, place: Place) -> int:
    done: list[str] = []

    def kill(operation: str, path: Path) -> None:
        done.append(kind(place.label(), operation, path))
        if kill_at in (done[-1], len(done)):
            os.kill(os.getpid(), signal.SIGKILL)

    place.watch()
    store.before = kill
    do(work, out, beats=kill_at == 0)
    if kill_at == -1:
        out.with_name(out.name + ".operations").write_text("\n".join(done))
    return 0


def do(work: str, out: Path, beats: bool = False) -> None:
    if work.endswith("pretrain.toml"):
        pretraining(Path(work), out)
    elif work.endswith(".toml"):
        project(Path(work), out, beats)
    else:
        with patch.object(module, "examples_of", functools.partial(rendered, work)):
            tuned(out, config(method=work, save_seconds=SAVE_SECONDS))


examples_of = module.examples_of
known: dict[str, Any] = {}


def rendered(method: str, *given: Any, **named: Any) -> Any:
    """The tokens of the rows, which are those of every run of `tuned` with it, found once."""
    if method not in known:
        known[method] = examples_of(*given, **named)
    return known[method]


def project(file: Path, out: Path, beats: bool) -> None:
    """`tutelage run` of a project, on one thread. Without beats its durable operations are the
    same in every run, however long it takes: only then can one of them be waited for."""
    settings = compose._config
    changed = {
        "save_seconds": SAVE_SECONDS, "batch_tokens": BATCH_TOKENS, "learning_rate": LEARNING_RATE
    }  # fmt: skip
    plan = find(file)
    with patch.object(compose, "_config", lambda given: settings(given).model_copy(update=changed)):
        tools = compose.real_tools(plan, device="cpu", dtype="fp32", threads=1)
        tools = tools if beats else dataclasses.replace(tools, beat_seconds=None)
        life.run(plan, out=out, tools=tools)


def pretraining(file: Path, out: Path) -> None:
    """`tutelage pretrain` of a file, on one thread, with several shards of little text."""
    shards = functools.partial(Request, shard_tokens=SHARD_TOKENS)
    quick = functools.partial(gemm_flops, size=64)
    with patch.object(material, "Request", shards), patch.object(compute, "gemm_flops", quick):
        pretrain(load_toml(PretrainConfig, file), out, device="cpu", dtype="fp32", threads=1)


def warm(work: str) -> Json:
    """Do the work once; what is there then is nothing each fork must search for garbage."""
    gc.unfreeze()
    with tempfile.TemporaryDirectory() as folder:
        do(work, Path(folder) / "out")
    gc.collect()
    gc.freeze()
    return {}


def start(arguments: list[str], stdout: str, stderr: str, limit: int | None, held: bool) -> Json:
    """`tutelage ARGUMENTS` in a process of its own, its output in files."""

    def command() -> int:
        for handle, file in ((1, stdout), (2, stderr)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), handle)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if held:
            store.before = lambda operation, path: os.kill(os.getpid(), signal.SIGSTOP)
        return run_command(arguments)

    return {"pid": forked(command)}


def forked(work: Callable[[], int]) -> int:
    """The number of a process that does the work and ends with the code it returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = work()
            sys.stdout.flush()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(code)
    return pid


def poll(pid: int, wait: bool) -> Json:
    """How a child has ended; None while it runs."""
    ended, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if ended else None}


def ended(pid: int, kill_after: float) -> int:
    """The exit code of a child that is killed once its time is over. Only whoever waits for a child
    may kill it: until then its number belongs to nobody else."""
    begun = time.monotonic()
    while (code := poll(pid, wait=False)["code"]) is None:
        if kill_after and time.monotonic() - begun > kill_after:
            os.kill(pid, signal.SIGKILL)
            return int(poll(pid, wait=True)["code"])
        time.sleep(0.0005)
    return int(code)


def answer(request: Json, place: Place) -> Json:
    match request:
        case {"warm": work}:
            return warm(work)
        case {"run": work, "out": out, "kill_at": kill_at, "kill_after": kill_after}:
            place.clear()
            pid = forked(lambda: run(Path(out), work, kill_at, place))
            return {"code": ended(pid, kill_after), "place": place.read()}
        case {"start": arguments, **rest}:
            return start(arguments, **rest)
        case {"poll": pid, "wait": wait}:
            return poll(pid, wait)
        case {"shell": arguments}:
            return {"code": subprocess.run(arguments, stdout=subprocess.DEVNULL).returncode}
    raise ValueError(request)


@contextlib.contextmanager
def answers() -> Iterator[Any]:
    """Where answers go: not to stdout, which what is run may write to."""
    with os.fdopen(os.dup(1), "w") as file:
        os.dup2(2, 1)
        yield file


def main() -> None:
    torch.set_num_threads(1)
    place = Place()
    with answers() as file:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), place)), file=file, flush=True)


if __name__ == "__main__":
    main()
