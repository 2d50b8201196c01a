"""The hardest moments of a tuning before its first step: the heaviest update, an evaluation of the
longest row, a checkpoint and the result on disk.

    found = rehearse(run, folder)       what each took; nothing of it is kept

A run that would fail after hours, for want of memory or of room on the disk, fails here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tutelage.data.pack import Example, packed_tokens
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.score import score
from tutelage.heads import HEADS
from tutelage.heads._head import Head
from tutelage.machine.memory import Peak, freed_memory_kept
from tutelage.models.forward import Model
from tutelage.train import state
from tutelage.train.loop import Step, loss_of, train
from tutelage.train.prepare import Run, memory_named, working
from tutelage.train.resumable import Work
from tutelage.train.schedule import Schedule

ANSWER_TOKENS = 16
"""New tokens of the answer that is tried."""


@dataclass(frozen=True)
class Rehearsed:
    """What was tried, in seconds, bytes and nats; `tokens` and `rows` are the heaviest step's."""

    tokens: int
    rows: int
    longest_row: int
    loss: float
    gradient_norm: float
    seconds: dict[str, float]
    """By part: step, evaluation, save."""
    bytes_on_disk: int
    """Of a checkpoint and of the result."""
    peak_bytes: int


def rehearse(run: Run, near: Path | None = None) -> Rehearsed:
    """Do what is hardest once, the disk's part beside `near`, where the result will be. Raises
    MemoryLimitError naming a setting that would fit, GuardError where training would teach
    nothing, WorkError where the disk has no room."""
    heaviest = max(run.steps, key=packed_tokens)
    longest = max((row for step in run.steps for row in step), key=lambda row: row.inputs)
    seconds: dict[str, float] = {}
    with Peak() as peak, freed_memory_kept(), memory_named(run):
        model, work = working(run)
        with _timed(seconds, "step"):
            step = _step(replace(work, steps=[heaviest]))
        with _timed(seconds, "evaluation"):
            _evaluate(run, model, longest)
        with _timed(seconds, "save"):
            written = _save(run, model, work, near)
    return Rehearsed(
        tokens=packed_tokens(heaviest),
        rows=len(heaviest),
        longest_row=longest.inputs,
        loss=step.loss,
        gradient_norm=step.gradient_norm,
        seconds=seconds,
        bytes_on_disk=written,
        peak_bytes=peak.bytes,
    )


def _step(work: Work) -> Step:
    """One update with all that is trained, as the last of a run."""
    rate = work.plan.schedule.peak
    plan = replace(work.plan, schedule=Schedule(1, rate, warmup=1))
    for group in work.optimizer.param_groups:
        group.pop("start", None)  # the heaviest step is one that every layer has joined
    steps = train(work.model, work.parameters, work.optimizer, work.steps, work.loss, plan)
    return next(iter(list(steps)))


def _evaluate(run: Run, model: Model, longest: Example) -> None:
    """Score the longest row, and answer its prompt, where the model writes."""
    model.eval()
    if run.task is not None:
        head: Head = HEADS.get(run.task.head)
        with torch.inference_mode():
            loss_of(model, [longest], head.loss)
        model.train()
        return
    score(model, [longest])
    prompt = longest.memory or longest.ids[: longest.at[0] + 1]
    for _ in Engine(model).run([Job(tuple(prompt), ANSWER_TOKENS, frozenset())]):
        pass
    model.train()


def _save(run: Run, model: Model, work: Work, near: Path | None) -> int:
    """Write a checkpoint and the result, and remove them; their bytes."""
    if near is not None:
        near.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=near) as name:
        folder = Path(name)
        progress = state.Progress(1, 0.0, 0, ())
        state.save(folder, run.digest, progress, work.parameters, work.optimizer)
        run.write(model, folder / "result")
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[part] = time.monotonic() - began
