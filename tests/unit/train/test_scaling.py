"""Loss scaling: against PyTorch's own, and what it must not change."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.parity.test_packed_loss import examples_of
from tests.unit.train.test_loop import copies, trainable, unharmed
from tutelage.errors import GuardError
from tutelage.objectives import clm
from tutelage.train.loop import Plan, Step, loss_of, train
from tutelage.train.optimizer import adamw
from tutelage.train.scaling import LossScale
from tutelage.train.schedule import Schedule

STEPS = [examples_of(prefix=3, count=4, seed=seed) for seed in range(10)]
RATE = 1e-3


def trained(
    compute: torch.dtype, scale: LossScale | None
) -> tuple[dict[str, torch.Tensor], list[Step], list[float]]:
    """Weights after all steps, the steps, and the scale after each."""
    _, model, parameters = trainable(3, initializer_range=0.02)
    model.compute = compute
    plan = Plan(Schedule(len(STEPS), RATE, 1, floor=1.0))
    optimizer = adamw(parameters, RATE)
    steps, scales = [], []
    for step in train(model, parameters, optimizer, STEPS, clm.loss, plan, scale=scale):
        steps.append(step)
        scales.append(0.0 if scale is None else scale.value)
    return copies(parameters), steps, scales


def by_hand(scaler: torch.amp.GradScaler) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The loop as PyTorch's documentation writes it, and the scale after each step."""
    _, model, parameters = trainable(3, initializer_range=0.02)
    model.compute = torch.float16
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0, fused=True)
    scales = []
    for rows in STEPS:
        loss = loss_of(model, rows, clm.loss).total / sum(row.trained * row.weight for row in rows)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return copies(parameters), scales


def test_a_loop_by_hand_with_pytorchs_scaler_is_the_same_to_the_bit() -> None:
    """From a scale at which gradients overflow, down, and up again by so many good updates."""
    start, patience = 2.0**20, 2
    weights, steps, scales = trained(torch.float16, LossScale(start, patience))
    expected, theirs = by_hand(
        torch.amp.GradScaler("cpu", init_scale=start, growth_interval=patience)
    )
    assert scales == theirs
    assert any(step.skipped for step in steps)
    assert {b / a for a, b in itertools.pairwise(scales)} == {0.5, 1.0, 2.0}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_in_float32_a_power_of_two_changes_no_bit() -> None:
    plain, steps, _ = trained(torch.float32, None)
    scaled, again, _ = trained(torch.float32, LossScale(2.0**10, 2))
    assert again == steps
    assert all(torch.equal(plain[name], scaled[name]) for name in plain)


def test_a_scale_finds_what_float16_loses() -> None:
    """A loss made small by the weight of a row: unscaled its gradients vanish inside the model."""
    _, model, parameters = trainable(3, initializer_range=0.02)
    model.compute = torch.float16
    (row,) = examples_of(prefix=3, count=1)
    inside = parameters["blocks.0.mlp.up.weight"]
    found = {}
    for scale in (1.0, 2.0**16):
        model.zero_grad()
        (loss_of(model, [row], clm.loss).total * 1e-7 * scale).backward()
        assert inside.grad is not None
        found[scale] = float((inside.grad / scale).norm())
    exact = found[2.0**16]
    assert exact > 0 and abs(found[1.0] - exact) > 0.05 * exact


def test_a_skipped_step_leaves_weights_and_optimizer() -> None:
    _, model, parameters = trainable(3)
    model.compute = torch.float16
    before, scale = copies(parameters), LossScale(2.0**40)
    optimizer = adamw(parameters, RATE)
    plan = Plan(Schedule(len(STEPS), RATE, 1))
    step = next(train(model, parameters, optimizer, STEPS, clm.loss, plan, scale=scale))
    assert step.skipped and not math.isfinite(step.gradient_norm) and scale.skipped == 1
    assert unharmed(parameters, before)
    assert not any(optimizer.state_of(one) for one in parameters.values())


def test_overflow_at_every_scale_is_refused() -> None:
    """A gradient that is no number in itself: the scale falls to 1, and no further."""
    scale = LossScale(4.0)
    _, model, parameters = trainable(3)
    parameters["norm.weight"].register_hook(lambda grad: grad * math.inf)
    before = copies(parameters)
    plan = Plan(Schedule(len(STEPS), RATE, 1))
    with pytest.raises(GuardError, match="gradient is not a number"):
        list(train(model, parameters, adamw(parameters, RATE), STEPS, clm.loss, plan, scale=scale))
    assert scale.value == 1.0 and scale.skipped == 2
    assert unharmed(parameters, before)
