"""Ways of computing that must not change what is computed: whole trajectories compared.

Eight packs added up are one pack: the loss is a sum divided by the step's own weight. In float32
sums in another order differ by rounding, which AdamW's division by sqrt(v) magnifies where a
gradient is near zero; 1e-5 absolute on weights of size 0.2 after ten steps is that rounding.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.objectives import clm
from tutelage.train.loop import Plan, Step, train
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

STEPS = [examples_of(prefix=11, count=8, seed=s) for s in range(10)]


def trajectory(
    method: str, checkpointing: bool = False, **plan: Any
) -> tuple[list[Step], dict[str, torch.Tensor]]:
    checkpoint = checkpoint_of(their_llama(4))
    model = build(checkpoint)
    attached(method, model, checkpoint)
    model.checkpointing = checkpointing
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = adamw(parameters, 1e-3)
    schedule = Schedule.tuning(len(STEPS), 1e-3)
    steps = list(train(model, parameters, optimizer, STEPS, clm.loss, Plan(schedule, **plan)))
    return steps, {n: p.detach() for n, p in parameters.items()}


def agree(
    first: tuple[list[Step], dict[str, torch.Tensor]],
    second: tuple[list[Step], dict[str, torch.Tensor]],
) -> None:
    for a, b in zip(first[0], second[0], strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)
        assert a.trained_tokens == b.trained_tokens
    for name, value in first[1].items():
        assert (value - second[1][name]).abs().max() < 1e-5, name


@pytest.mark.parametrize("method", ["lora", "full"])
def test_eight_micro_batches_equal_one(method: str) -> None:
    whole = trajectory(method)
    agree(whole, trajectory(method, micro_batches=8))
    agree(whole, trajectory(method, micro_batches=3))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_computing_blocks_twice_changes_nothing(method: str) -> None:
    agree(trajectory(method), trajectory(method, checkpointing=True))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_same_run_again_is_bitwise_the_same(method: str) -> None:
    first, second = trajectory(method), trajectory(method)
    assert first[0] == second[0]
    for name, value in first[1].items():
        assert torch.equal(value, second[1][name])
