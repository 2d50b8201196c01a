"""The loop with checkpoints around it: killed at any moment, the same call goes on.

    outcome = resumable(work, folder, digest, save_seconds=60, ...)

The order of rows follows from the seed alone, so a run that is killed and started again makes the
same steps and ends bitwise where an undisturbed one does, on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from tutelage.models.forward import Model
from tutelage.train import state
from tutelage.train.loop import Loss, Plan, Step, Steps, train
from tutelage.train.optimizer import Optimizers
from tutelage.train.scaling import LossScale

Deadline = Callable[[], bool]


@dataclass(frozen=True)
class Work:
    """What is trained, how, and on what."""

    model: Model
    parameters: Mapping[str, nn.Parameter]
    optimizer: Optimizers
    steps: Steps
    loss: Loss
    plan: Plan
    start: Mapping[str, Tensor] = field(default_factory=dict)
    """What the parameters were before training, where that is needed."""
    scale: LossScale | None = None
    """Of the loss, in float16."""


@dataclass(frozen=True)
class Outcome:
    progress: state.Progress
    stopped: bool


def resumable(
    work: Work,
    folder: Path,
    digest: str,
    *,
    save_seconds: float,
    note: Callable[[str], None],
    report: Callable[[Step, state.Progress], None] = lambda step, at: None,
    deadline: Deadline | None = None,
) -> Outcome:
    """Make all steps that are left, saving every `save_seconds`; `report` is told of each.

    `digest` ties the checkpoints in `folder` to what they follow from. `deadline` is asked after
    each step: true saves and returns stopped.
    """
    at = state.resume(folder, digest, work.parameters, work.optimizer, note)
    at = at or state.Progress(0, 0.0, 0, ())
    scale = work.scale if at.scale is None else LossScale(**at.scale)
    total = work.plan.schedule.total
    began, saved = time.monotonic() - at.seconds, time.monotonic()
    worked = time.process_time() - at.processor_seconds
    for step in train(
        work.model, work.parameters, work.optimizer, work.steps, work.loss, work.plan, at.step,
        scale,
    ):  # fmt: skip
        seconds = time.monotonic() - began
        at = state.Progress(
            step.number + 1,
            seconds,
            at.trained_tokens + step.trained_tokens,
            (*at.curve, (step.number + 1, seconds, step.loss)),
            time.process_time() - worked,
            None if scale is None else dict(vars(scale)),
        )
        report(step, at)
        stop = at.step < total and deadline is not None and deadline()
        if stop or (at.step < total and time.monotonic() - saved > save_seconds):
            state.save(folder, digest, at, work.parameters, work.optimizer)
            saved = time.monotonic()
        if stop:
            return Outcome(at, True)
    return Outcome(at, False)
