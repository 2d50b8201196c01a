"""Products of bfloat16 in float32: the numbers, their gradients, and when."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from tutelage.machine.device import Placement
from tutelage.nn import product as module
from tutelage.nn.product import CHUNK, FEW, linear, product, room_bytes

ROUNDING = 2.0**-8
"""Of a number in bfloat16, to nearest, as a share of it."""


@pytest.fixture(params=[True, False])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A processor that is slow in bfloat16, and one that is not, whatever this one is."""
    monkeypatch.setattr(module, "bfloat16_is_slow", lambda: request.param)
    return bool(request.param)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def near(found: Tensor, *exact: Tensor) -> bool:
    """The last of these, all of which were rounded on the way."""
    assert found.dtype == torch.bfloat16 and found.shape == exact[-1].shape
    error = (found.double() - exact[-1]).abs()
    sizes = [each.abs().clamp_min(each.std() / 16) for each in exact]
    return bool((error <= ROUNDING * torch.stack(sizes).sum(0)).all())


@pytest.mark.parametrize("rows", [1, FEW - 1, FEW, CHUNK, 2 * CHUNK + 5])
def test_it_is_the_product_rounded_once(rows: int, slow: bool) -> None:
    x, w, b = drawn(rows, 48), drawn(40, 48, seed=1), drawn(40, seed=2)
    exact = x.double() @ w.double().t()
    assert near(linear(x, w), exact)
    assert near(linear(x, w, b), exact + b.double())
    assert near(product(x, w.t()), exact)
    assert near(product(x, w.t(), bias=b), exact + b.double())
    low, up = drawn(rows, 4, seed=3), drawn(4, 40, seed=4)
    both = exact + low.double() @ up.double()
    added = product(x, w.t(), (low, up))
    assert near(added, both) if slow and rows >= FEW else near(added, exact, both)
    assert not near(product(x, w.t()), exact, both)


def test_a_transposed_side(slow: bool) -> None:
    x, w = drawn(48, 2 * FEW).t(), drawn(48, 40, seed=1)
    assert near(product(x, w), x.double() @ w.double())
    assert near(product(x, w.t().contiguous().t()), x.double() @ w.double())


def test_gradients(slow: bool) -> None:
    sides = [drawn(3, FEW, 24), drawn(16, 24, seed=1), drawn(16, seed=2)]
    ours = [one.clone().requires_grad_() for one in sides]
    exact = [one.double().requires_grad_() for one in sides]
    dy = drawn(3, FEW, 16, seed=3)
    y = linear(*ours)
    assert y.shape == (3, FEW, 16)
    y.backward(dy)
    nn.functional.linear(*exact).backward(dy.double())
    for one, other in zip(ours, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        assert near(one.grad, other.grad)


def test_what_is_frozen_gets_no_gradient(slow: bool) -> None:
    x, w = drawn(FEW, 24).requires_grad_(), drawn(16, 24, seed=1)
    linear(x, w).sum().backward()
    assert x.grad is not None and w.grad is None


def test_other_types_and_few_rows_are_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_is_slow", lambda: True)
    for x in (drawn(FEW - 1, 24), drawn(FEW, 24).float(), drawn(FEW, 24).double()):
        w = drawn(16, 24, seed=1).to(x.dtype)
        assert torch.equal(linear(x, w), nn.functional.linear(x, w))


def test_threads_do_not_share_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_is_slow", lambda: True)
    w = drawn(40, 48)
    rows = [drawn(CHUNK, 48, seed=seed) for seed in range(4)]
    alone = [linear(x, w) for x in rows]
    wrong: list[int] = []

    def often(at: int) -> None:
        for _ in range(20):
            if not torch.equal(linear(rows[at], w), alone[at]):
                wrong.append(at)

    threads = [threading.Thread(target=often, args=(at,)) for at in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong


def test_room_made_for_answers_serves_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_is_slow", lambda: True)
    monkeypatch.setattr(module, "_rooms", threading.local())
    w = drawn(16, 24, seed=1)
    with torch.inference_mode():
        linear(drawn(FEW, 24), w)
    x = drawn(FEW, 24).requires_grad_()
    linear(x, w).sum().backward()
    assert x.grad is not None


def test_what_is_frozen_needs_no_inputs_kept(slow: bool) -> None:
    x, w = drawn(FEW, 24).requires_grad_(), drawn(16, 24, seed=1)
    kept: list[Tensor] = []

    def keep(one: Tensor) -> Tensor:
        kept.append(one)
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        linear(x, w)
    assert [one.numel() for one in kept] == [16 * 24]


def test_the_room_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_is_slow", lambda: True)
    monkeypatch.setattr(module, "multiplied_in", lambda _: "fp32")
    monkeypatch.setattr(module, "_rooms", (rooms := threading.local()))
    shapes = [(40, 48), (16, 96)]
    for rows, columns in shapes:
        linear(drawn(2 * CHUNK, columns), drawn(rows, columns))
    held = sum(room.nbytes for room in vars(rooms).values())
    assert room_bytes(Placement("cpu", "bf16"), shapes) == held
