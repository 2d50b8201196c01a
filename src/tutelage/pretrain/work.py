"""A pretraining run as work for the loop: the model, how it is trained, and for how many steps."""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable

from tutelage.checkpoints.build import build
from tutelage.machine.device import DTYPES
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.models.spec import is_linear
from tutelage.objectives import clm
from tutelage.pretrain.request import Run
from tutelage.train import kept
from tutelage.train.loop import Plan, train
from tutelage.train.optimizer import pretraining
from tutelage.train.resumable import Work
from tutelage.train.scaling import LossScale
from tutelage.train.schedule import Schedule

TRIED = 6
"""Steps whose speed says how many fit into the minutes; the first of them is not counted."""


def model_of(run: Run) -> Model:
    """The start with float32 masters of all weights, computing in the type asked for."""
    model: Model = build(run.checkpoint, "fp32", run.placement.device)
    model.compute = DTYPES[run.placement.dtype]
    model.requires_grad_(True).train()
    model.checkpointing = run.config.training.checkpointing
    return model


def work_of(run: Run, model: Model, total: int) -> Work:
    """All that the loop needs for `total` steps."""
    training = run.config.training
    parameters = dict(model.named_parameters())
    inside = {weight.path for weight in layout(run.checkpoint.config) if is_linear(weight)}
    muon = inside if training.optimizer == "muon" else set()
    rate = training.learning_rate
    schedule = Schedule(
        total, rate, max(1, round(training.warmup * total)), training.schedule, training.floor,
        training.decay,
    )  # fmt: skip
    plan = Plan(schedule, training.clip, micro_batches=run.micro_batches)
    scaled = run.placement.dtype == "fp16"
    optimizer = pretraining(parameters, rate, muon=muon, decay=training.weight_decay)
    if run.remembered is not None:
        kept.restore(run.remembered[0], parameters, optimizer)
    return Work(
        model,
        parameters,
        optimizer,
        run.step_rows,
        functools.partial(clm.loss, z=training.z_loss),
        plan,
        scale=LossScale(training.loss_scale.start, training.loss_scale.steps) if scaled else None,
    )


def steps_of(run: Run) -> int:
    """How many steps the run has, by whichever length the file gives. Minutes are measured."""
    training = run.config.training
    if training.steps is not None:
        return training.steps
    if training.tokens is not None:
        return max(1, round(training.tokens / (run.rows * run.maker.window)))
    if training.flops is not None:
        return max(1, round(training.flops / run.flops))
    if training.processor_minutes is not None:
        seconds = _seconds_of_a_step(run, time.process_time)
        return max(1, int(training.processor_minutes * 60 / seconds))
    assert training.minutes is not None
    return max(1, int(training.minutes * 60 / _seconds_of_a_step(run, time.monotonic)))


def _seconds_of_a_step(run: Run, clock: Callable[[], float]) -> float:
    """Median of a few steps of a model that is then thrown away."""
    model = model_of(run)
    work = work_of(run, model, TRIED)
    marks = [clock()]
    for _ in train(
        model, work.parameters, work.optimizer, work.steps, work.loss, work.plan, scale=work.scale
    ):
        marks.append(clock())
    seconds = [b - a for a, b in itertools.pairwise(marks[1:])]
    return statistics.median(seconds or [marks[1] - marks[0]])
