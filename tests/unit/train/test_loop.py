"""The loop: what it steps, and where it refuses before the weights are touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.parity.packed import our_loss, their_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.witness import VOCABULARY, pair
from tutelage.data.pack import Example
from tutelage.errors import GuardError
from tutelage.models.transformer import Transformer
from tutelage.objectives import clm
from tutelage.train.loop import Plan, Step, train
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

Steps = Sequence[Sequence[Example]]


def trainable(seed: int = 0, **changes: object) -> tuple[Any, Transformer, dict[str, nn.Parameter]]:
    theirs, ours = pair(seed, **changes)
    ours.requires_grad_(True)
    return theirs, ours, dict(ours.named_parameters())


def run(
    model: Transformer, parameters: dict[str, nn.Parameter], steps: Steps, **plan: Any
) -> list[Step]:
    schedule = Schedule.tuning(len(steps), plan.pop("learning_rate", 1e-3))
    optimizer = adamw(parameters, schedule.peak)
    return list(train(model, parameters, optimizer, steps, clm.loss, Plan(schedule, **plan)))


def test_a_trajectory_equals_a_plain_loop_in_transformers() -> None:
    """Same weights, same AdamW, clipping and schedule; theirs one example at a time, padded by
    nothing. Rounding of float32 grows with the steps: 1e-4 after eight."""
    theirs, model, parameters = trainable(2, tie_word_embeddings=True)
    steps = [examples_of(prefix=9, count=5, seed=s) for s in range(8)]
    found = run(model, parameters, steps, micro_batches=2)
    weights = dict(theirs.named_parameters())
    optimizer = torch.optim.AdamW(weights.values(), lr=1.0, weight_decay=0.0)
    for step, rows in zip(found, steps, strict=True):
        rate = Schedule.tuning(len(steps), 1e-3).at(step.number)
        optimizer.param_groups[0]["lr"] = rate
        weight = sum(row.trained * row.weight for row in rows)
        loss = their_loss(theirs, rows) / weight
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert step.loss == pytest.approx(loss.item(), rel=1e-4)
        assert step.gradient_norm == pytest.approx(norm.item(), rel=1e-3)
        assert step.learning_rate == rate
        assert step.trained_tokens == sum(row.trained for row in rows)


def test_eight_examples_are_learned_by_heart() -> None:
    _, model, parameters = trainable(1, initializer_range=0.02)
    rows = [replace(e, weight=1.0) for e in examples_of(0, count=8, seed=4)]
    assert len({row.ids for row in rows}) == 8
    steps = run(model, parameters, [rows] * 120, learning_rate=1e-2)
    assert steps[0].loss == pytest.approx(math.log(VOCABULARY), rel=0.15)
    assert steps[-1].loss < 0.02


def unharmed(parameters: dict[str, nn.Parameter], before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(p, before[n]) for n, p in parameters.items())


def copies(parameters: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in parameters.items()}


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_loss_that_is_no_number_names_its_rows(micro_batches: int) -> None:
    _, model, parameters = trainable()
    with torch.no_grad():
        model.embed.tokens.weight[96] = math.nan
    good = [Example.answer((1, 2), (3,), name=f"good-{i}") for i in range(4)]
    bad = Example.answer((1, 2, 96), (3,), name="bad-row")
    before = copies(parameters)
    run(model, {"w": parameters["norm.weight"]}, [good])  # it is the rows, not the model
    parameters["norm.weight"].data.copy_(before["norm.weight"])
    with pytest.raises(GuardError) as caught:
        run(model, parameters, [[*good, bad]], micro_batches=micro_batches)
    assert caught.value.field == "loss"
    assert "bad-row" in str(caught.value.got)
    assert "not touched" in caught.value.message
    before.pop("embed.tokens.weight"), parameters.pop("embed.tokens.weight")
    assert unharmed(parameters, before)


def test_no_trained_token_is_refused() -> None:
    _, model, parameters = trainable()
    before = copies(parameters)
    with pytest.raises(GuardError, match="no trained token") as caught:
        run(
            model, parameters, [[Example.answer((1, 2), (), name="mute"), Example.answer((3,), ())]]
        )
    assert "mute" in str(caught.value.got)
    with pytest.raises(GuardError, match="no trained token"):
        run(model, parameters, [[Example.answer((1, 2), (3,), weight=0.0)]])
    assert unharmed(parameters, before)


def test_a_dead_gradient_is_refused() -> None:
    """A parameter the loss does not reach: the run would end well and have learned nothing."""
    _, model, parameters = trainable()
    model.requires_grad_(False)
    last = parameters["blocks.2.mlp.down.weight"].requires_grad_(True)
    with torch.no_grad():
        model.norm.weight.zero_()
    before = last.detach().clone()
    with pytest.raises(GuardError, match="gradient is zero") as caught:
        run(model, {"w": last}, [[Example.answer((1, 2), (3,), name="dead")]])
    assert "dead" in str(caught.value.got)
    assert torch.equal(last, before)


def test_a_gradient_that_is_no_number_is_refused() -> None:
    _, model, parameters = trainable()
    before = copies(parameters)

    def broken(*given: Any) -> clm.LossSum:
        found = clm.loss(*given)
        poison = torch.zeros((), requires_grad=True)
        spoiled = found.total + (parameters["norm.weight"] * 0).sum().sqrt() + poison
        return clm.LossSum(spoiled, found.count)

    optimizer = adamw(parameters, 1e-3)
    steps = [[Example.answer((1, 2), (3,), name="odd")]]
    with pytest.raises(GuardError, match="not a number") as caught:
        list(train(model, parameters, optimizer, steps, broken, Plan(Schedule.tuning(1, 1e-3))))
    assert caught.value.field == "gradient norm"
    assert unharmed(parameters, before)


def test_many_rows_are_named_in_short() -> None:
    _, model, parameters = trainable()
    rows = [Example.answer((1,), (), name=f"r{i}") for i in range(9)]
    with pytest.raises(GuardError) as caught:
        run(model, parameters, [rows])
    assert caught.value.got == "rows r0, r1, r2, r3, r4 and 4 more"


def test_the_loop_is_lazy_and_starts_where_told() -> None:
    """Nothing is computed before it is asked for; `start` skips steps and not the schedule."""
    _, model, parameters = trainable()
    steps = [examples_of(0, count=2, seed=s) for s in range(4)]
    optimizer = adamw(parameters, 1e-3)
    plan = Plan(Schedule.tuning(4, 1e-3))
    walk = train(model, parameters, optimizer, steps, clm.loss, plan, start=2)
    before = copies(parameters)
    assert unharmed(parameters, before)
    first = next(walk)
    assert first.number == 2 and not unharmed(parameters, before)
    assert first.learning_rate == plan.schedule.at(2)
    assert [step.number for step in walk] == [3]


def test_a_step_clips_the_gradient_to_one() -> None:
    theirs, model, parameters = trainable()
    del theirs
    rows = examples_of(0, count=4)
    found = our_loss(model, rows)
    (found.total / found.count).backward()
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in parameters.values()))  # type: ignore[operator]
    model.zero_grad(set_to_none=True)
    (step,) = run(model, parameters, [rows])
    assert step.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert norm > 1, "else nothing was clipped"
