"""The one training loop: a generator of finished steps.

    for step in train(model, parameters, optimizer, steps, loss, plan):
        ...                 # log, save, stop: ordinary lines of the caller

Refuses to go on, before the weights are touched, where a run would otherwise succeed and learn
nothing or break: no trained token, a loss that is no number, a gradient that is zero.
Knows nothing of files, time limits or methods of tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import GuardError
from tutelage.models.forward import Model, forward
from tutelage.nn.moe import side_loss
from tutelage.objectives.clm import LossSum
from tutelage.train.optimizer import Optimizers, at_pace
from tutelage.train.scaling import LossScale
from tutelage.train.schedule import Schedule

Loss = Callable[..., LossSum]


class Steps(Protocol):
    """The rows of every step, made when they are asked for."""

    def __getitem__(self, step: int, /) -> Sequence[Example]: ...


@dataclass(frozen=True)
class Plan:
    """How a run steps: by which learning rates, with gradients clipped to which norm, each update
    cut into how many packs. What is dropped at random in a step follows from `seed` and the step's
    number, so that a resumed run drops the same."""

    schedule: Schedule
    clip: float = 1.0
    micro_batches: int = 1
    seed: int = 0
    parts: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Names of parameters, by what they belong to, that have to learn each on their own account: a
    head that learns hides a method that does not."""


@dataclass(frozen=True)
class Step:
    """One finished step: mean loss in nats per trained token, and how many were trained."""

    number: int
    loss: float
    trained_tokens: int
    gradient_norm: float
    learning_rate: float
    skipped: bool = False
    """Whether float16 overflowed, so that the weights stayed as they were."""


def train(
    model: Model,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizers,
    steps: Steps,
    loss: Loss,
    plan: Plan,
    start: int = 0,
    scale: LossScale | None = None,
) -> Iterator[Step]:
    """Run the steps from `start` on, one update each, but for those that `scale` skips. Raises
    GuardError (see above)."""
    trained = list(parameters.values())
    for number in range(start, plan.schedule.total):
        rate = plan.schedule.at(number)
        at_pace(optimizer, rate, number / plan.schedule.total)
        rows = steps[number]
        with _drawing(model.device, plan.seed, number):
            total = _gradients(model, rows, loss, plan, 1.0 if scale is None else scale.value)
        if scale is not None:
            scale.unscale(trained)
        norm = float(nn.utils.clip_grad_norm_(trained, plan.clip))
        skipped = scale is not None and scale.overflowed(norm)
        if not skipped:
            _refuse_dead_gradient(norm, rows)
            if number == start:
                _refuse_dead_parts(plan.parts, parameters, rows)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(row.trained for row in rows)
        yield Step(number, total, tokens, norm, rate, skipped)


@contextmanager
def _drawing(device: torch.device, seed: int, number: int) -> Iterator[None]:
    """Random numbers within the block follow from seed and step alone; outside nothing changes."""
    own = (seed * 1_000_003 + number) % 2**63
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(own)
        if device.type == "cuda":
            torch.cuda.manual_seed(own)
        yield


def _gradients(
    model: Model, rows: Sequence[Example], loss: Loss, plan: Plan, scale: float = 1.0
) -> float:
    """Accumulate the gradient of `scale` times the mean loss over the step's trained tokens; return
    that mean.

    Dividing by the step's own weight, not by each pack's, makes any cut into packs exact.
    """
    weight = _weight(rows)
    mean = 0.0
    for part in _split(rows, plan.micro_batches):
        result = loss_of(model, part, loss)
        value = float(result.total.detach()) / weight
        if not math.isfinite(value):
            raise GuardError(
                "the loss is not a number; the weights were not touched",
                field="loss",
                got=f"{value} on rows {_names(part)}",
                hint="look at these rows, or lower --learning-rate",
            )
        mine = _with_side_loss(result.total / weight, model, result.count / weight)
        (scale * mine).backward()
        mean += value
    return mean


def _weight(rows: Sequence[Example]) -> float:
    """Of all trained tokens of a step together. Raises GuardError for none."""
    weight = sum(row.trained * row.weight for row in rows)
    if not weight:
        raise GuardError(
            "a step has no trained token",
            field="completion",
            got=f"rows {_names(rows)}",
            expected="at least one token to learn",
        )
    return weight


def _with_side_loss(loss: Tensor, model: Model, share: float) -> Tensor:
    """What balances experts, in the share of the step that a pack makes; no part of what is said of
    the loss."""
    side = side_loss(model)
    return loss if side is None else loss + share * side


def loss_of(model: Model, rows: Sequence[Example], loss: Loss) -> LossSum:
    """Of rows that are read as one pack."""
    plan = pack(rows)
    memory = memory_of(rows) if any(row.memory for row in rows) else None
    labels, weights = (torch.from_numpy(x).to(model.device) for x in (plan.labels, plan.weights))
    return loss(model, forward(model, plan, memory), labels, weights)


def _split(rows: Sequence[Example], parts: int) -> list[Sequence[Example]]:
    """At most `parts` runs of rows with about the same number of tokens."""
    if parts == 1 or len(rows) == 1:
        return [rows]
    ordered = sorted(rows, key=lambda row: -row.inputs)
    heaps: list[list[Example]] = [[] for _ in range(min(parts, len(rows)))]
    for row in ordered:
        min(heaps, key=lambda heap: sum(r.inputs for r in heap)).append(row)
    return list(heaps)


def _refuse_dead_gradient(norm: float, rows: Sequence[Example]) -> None:
    if math.isfinite(norm) and norm > 0:
        return
    what = "zero" if norm == 0 else "not a number"
    raise GuardError(
        f"the gradient is {what}; the weights were not touched",
        field="gradient norm",
        got=f"{norm} on rows {_names(rows)}",
        expected="finite and above zero",
    )


def _refuse_dead_parts(
    parts: Mapping[str, Collection[str]],
    parameters: Mapping[str, nn.Parameter],
    rows: Sequence[Example],
) -> None:
    """Looked at in the first update alone: what the loss does not reach then it never does."""
    for part, names in parts.items():
        learning = [parameters[name] for name in names if parameters[name].requires_grad]
        if learning and not any(p.grad is not None and bool(p.grad.any()) for p in learning):
            raise GuardError(
                f"the gradient of {part} is zero; the weights were not touched",
                field="gradient norm",
                got=f"0 for {len(learning)} tensors on rows {_names(rows)}",
                expected="above zero",
            )


def _names(rows: Sequence[Example]) -> str:
    named = [row.name for row in rows if row.name]
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
