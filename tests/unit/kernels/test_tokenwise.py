"""Norm, rotation and gate by the C++ library, against their formulas in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.kernels import tokenwise
from tutelage.kernels.library import library
from tutelage.nn import mlp, rope
from tutelage.nn import norm as nn_norm
from tutelage.nn.mlp import gated
from tutelage.nn.norm import RMSNorm
from tutelage.nn.rope import rotate

pytestmark = pytest.mark.skipif(library() is None, reason="built without a C++ compiler")

Function = Callable[..., Tensor]


def angles(tokens: int, width: int) -> tuple[Tensor, Tensor]:
    half = torch.rand(tokens, 1, width // 2) * 6
    turns = torch.cat([half, half], dim=-1)
    return turns.cos(), turns.sin()


def agree(ours: Function, formula: Function, inputs: list[Tensor]) -> None:
    """Values, and gradients of a random sum, of float32 inputs."""
    here = [x.clone().requires_grad_() for x in inputs]
    there = [x.double().requires_grad_() for x in inputs]
    found, expected = ours(*here), formula(*there)
    assert torch.allclose(found.double(), expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    for a, b in zip(here, there, strict=True):
        assert a.grad is not None and b.grad is not None
        assert torch.allclose(a.grad.double(), b.grad, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 40), st.sampled_from([1, 5, 16, 64, 100]), st.floats(0.01, 30))
@settings(max_examples=30, deadline=None)
def test_norm(tokens: int, width: int, scale: float) -> None:
    x, gain = torch.randn(tokens, width) * scale, torch.randn(width)
    agree(
        lambda x, gain: tokenwise.rms_norm(x, gain, 1e-5),
        lambda x, gain: gain * x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt(),
        [x, gain],
    )


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from([2, 8, 20, 64]))
@settings(max_examples=30, deadline=None)
def test_rotation(tokens: int, heads: int, width: int) -> None:
    cosine, sine = angles(tokens, width)

    def formula(x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cosine.double() + torch.cat([-second, first], -1) * sine.double()

    x = torch.randn(tokens, heads, width)
    agree(lambda x: tokenwise.rotate(x, cosine, sine), formula, [x])


@given(st.integers(1, 40), st.sampled_from([1, 7, 64, 100]), st.floats(0.1, 40))
@settings(max_examples=30, deadline=None)
def test_gate(tokens: int, width: int, scale: float) -> None:
    gate, up = torch.randn(tokens, width) * scale, torch.randn(tokens, width)
    agree(tokenwise.gated, lambda g, u: g / (1 + torch.exp(-g)) * u, [gate, up])


def test_a_gate_of_any_size_stays_finite() -> None:
    gate = torch.tensor([[-1e30, -200.0, -87.5, 0.0, 87.5, 200.0, 1e30]]).requires_grad_()
    up = torch.ones(1, 7)
    found = tokenwise.gated(gate, up)
    found.sum().backward()
    expected = torch.nn.functional.silu(gate.detach().double())
    assert torch.allclose(found.detach().double(), expected)
    assert gate.grad is not None and torch.isfinite(gate.grad).all()


def test_bfloat16_is_the_float32_result_rounded_once() -> None:
    half = [torch.randn(33, 64).bfloat16() for _ in range(2)]
    full = [x.float() for x in half]
    gain = torch.randn(64)
    rounded_once(tokenwise.gated(*half), tokenwise.gated(*full))
    rounded_once(tokenwise.rms_norm(half[0], gain, 1e-5), tokenwise.rms_norm(full[0], gain, 1e-5))
    cosine, sine = angles(33, 64)
    turned = [tokenwise.rotate(x[0][:, None], cosine, sine) for x in (half, full)]
    rounded_once(*turned)


def rounded_once(found: Tensor, full: Tensor) -> None:
    """The two are compiled apart: what is rounded may differ in its last bits."""
    below, above = ((full + sign * 1e-6 * full.abs()).bfloat16() for sign in (-1, 1))
    assert ((below <= found) & (found <= above)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_the_library_pytorch_says_the_same(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = RMSNorm(64, 1e-5)
    torch.nn.init.normal_(norm.weight)
    x, cosine_sine = torch.randn(20, 64).to(dtype), angles(20, 64)

    def all_three() -> list[Tensor]:
        with torch.no_grad():
            return [norm(x), gated(x, x.flip(0)), rotate(x[:, None], *cosine_sine)[:, 0]]

    kernels = all_three()
    for module in (mlp, nn_norm, rope):
        monkeypatch.setattr(module, "computes", lambda x: False)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-6
    for ours, plain in zip(kernels, all_three(), strict=True):
        assert ours.dtype == plain.dtype == dtype
        assert torch.allclose(ours.float(), plain.float(), atol=tolerance, rtol=tolerance)
