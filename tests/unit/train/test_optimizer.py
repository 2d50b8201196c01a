"""AdamW against its formula, the schedule against its own, and the state's way out and back."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tutelage.train.optimizer import (
    BETAS,
    EPSILON,
    adamw,
    optimizer_tensors,
    restore_optimizer,
)
from tutelage.train.schedule import Schedule


def test_adamw_follows_its_formula() -> None:
    torch.manual_seed(0)
    start = torch.randn(3, 4)
    parameter = nn.Parameter(start.clone())
    optimizer = adamw({"w": parameter}, 0.1)
    w, m, v = start.double(), torch.zeros(3, 4).double(), torch.zeros(3, 4).double()
    for step in range(1, 30):
        gradient = torch.randn(3, 4)
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / step
        parameter.grad = gradient.clone()
        optimizer.step()
        g = gradient.double()
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        upright = m / (1 - BETAS[0] ** step), v / (1 - BETAS[1] ** step)
        w = w - 0.1 / step * upright[0] / (upright[1].sqrt() + EPSILON)
        assert torch.allclose(parameter.double(), w, atol=1e-5)


@given(st.integers(1, 400), st.floats(0, 1), st.floats(0, 1))
def test_the_schedule_rises_and_falls(total: int, warmup: float, floor: float) -> None:
    rates = [
        Schedule(total, 1.0, max(1, round(warmup * total)), floor=floor).at(step)
        for step in range(total)
    ]
    rising = max(1, round(warmup * total))
    assert all(a < b for a, b in itertools.pairwise(rates[:rising]))
    assert all(a >= b - 1e-12 for a, b in zip(rates[rising:], rates[rising + 1 :], strict=False))
    assert max(rates) <= 1 + 1e-12
    assert all(rate > 0 for rate in rates), "the last step still learns"
    assert rates[-1] >= min(floor, rates[0]) - 1e-12


def test_the_schedule_in_numbers() -> None:
    """100 steps, 5 of them rising, then a cosine to a tenth."""
    rates = [Schedule.tuning(100, 2.0).at(step) for step in range(100)]
    assert rates[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    for step in (5, 30, 52, 99):
        cosine = 0.5 * (1 + math.cos(math.pi * (step - 5) / 95))
        assert rates[step] == pytest.approx(2.0 * (0.1 + 0.9 * cosine))
    assert rates[99] > 0.2 > rates[99] * 0.99


def test_state_goes_out_and_back_bitwise() -> None:
    torch.manual_seed(1)
    values = {"a": torch.randn(5), "b.c": torch.randn(2, 3)}
    gradients = [{n: torch.randn_like(v) for n, v in values.items()} for _ in range(6)]

    def steps(
        parameters: dict[str, nn.Parameter], optimizer: torch.optim.AdamW, which: range
    ) -> None:
        for step in which:
            for name, parameter in parameters.items():
                parameter.grad = gradients[step][name].clone()
            optimizer.step()

    whole = {n: nn.Parameter(v.clone()) for n, v in values.items()}
    steps(whole, adamw(whole, 0.01), range(6))
    first = {n: nn.Parameter(v.clone()) for n, v in values.items()}
    before = adamw(first, 0.01)
    assert optimizer_tensors(before, first) == {}
    steps(first, before, range(3))
    kept = {n: t.clone() for n, t in optimizer_tensors(before, first).items()}
    assert set(kept) == {f"{n}:{k}" for n in values for k in ("step", "exp_avg", "exp_avg_sq")}
    second = {n: nn.Parameter(p.detach().clone()) for n, p in first.items()}
    after = adamw(second, 0.01)
    restore_optimizer(after, second, kept)
    steps(second, after, range(3, 6))
    for name, parameter in whole.items():
        assert torch.equal(parameter, second[name])
