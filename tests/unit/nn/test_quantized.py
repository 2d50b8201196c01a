"""Weights in few bits: against loops over the published rules, and against gguf's own numbers."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from tutelage.nn.linear import Linear
from tutelage.nn.quantized import Form, QuantizedLinear, quantize

FORMS = [Form(8), Form(4), Form(8, 8), Form(4, 6), Form(4, 128)]


def drawn(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    found = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    found[0] *= 1e-3
    return found


def by_loops(weight: torch.Tensor, form: Form) -> torch.Tensor:
    """Group by group, number by number."""
    found = torch.empty_like(weight)
    for row in range(len(weight)):
        for first in range(0, weight.shape[1], form.group):
            group = weight[row, first : first + form.group].tolist()
            if form.bits == 8:
                scale, low, high = max(abs(w) for w in group) / 127, -128, 127
            else:
                scale, low, high = max(group, key=abs) / -8, -8, 7
            scale = float(torch.tensor(scale).half())
            for at, w in enumerate(group):
                q = 0 if scale == 0 else min(max(round(w / scale), low), high)
                found[row, first + at] = q * scale
    return found


@pytest.mark.parametrize("columns", [64, 37])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_against_loops(form: Form, columns: int) -> None:
    weight = drawn(5, columns)
    weight[2] = 0
    got = quantize(weight, form).weight(torch.float32)
    assert got.shape == weight.shape
    assert torch.equal(got, by_loops(weight, form))


@pytest.mark.parametrize(("form", "kind"), [(Form(8), "Q8_0"), (Form(4), "Q4_0")])
def test_the_same_numbers_as_llama_cpp(form: Form, kind: str) -> None:
    """But for ties, and for a scale that is rounded after the numbers were found."""
    weight = drawn(16, 256, seed=3)
    chosen = gguf.GGMLQuantizationType[kind]
    packed = gguf.quants.quantize(weight.numpy(), chosen)
    theirs = torch.from_numpy(np.array(gguf.quants.dequantize(packed, chosen)))
    ours = quantize(weight, form).weight(torch.float32)
    assert (ours != theirs).float().mean() < 0.01
    assert packed.nbytes == form.bytes_of(16, 256)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_bytes_are_those_of_the_tensors(form: Form) -> None:
    codes = quantize(drawn(7, 70), form)
    held = sum(t.numel() * t.element_size() for t in (codes.numbers, codes.scales))
    assert held == form.bytes_of(7, 70)


@pytest.mark.parametrize(
    ("bias", "dtype"), [(False, torch.float32), (True, torch.float32), (False, torch.bfloat16)]
)
def test_the_map_and_its_gradient_are_those_of_the_widened_weight(
    bias: bool, dtype: torch.dtype
) -> None:
    linear = Linear(40, 24, "mlp.up", bias)
    weight = drawn(24, 40)
    if linear.bias is not None:
        linear.bias.data.normal_()
    narrow = QuantizedLinear.of(linear, weight, Form(4, 8))
    plain = narrow.plain(narrow.matrix(dtype))
    assert narrow.shape == plain.shape == (24, 40) and plain.role == "mlp.up"
    assert not [p for p in narrow.parameters() if p is not linear.bias]
    grads = []
    for module in (narrow, plain):
        x = drawn(3, 40, seed=1).to(dtype).requires_grad_()
        y = module(x)
        (y.float() * drawn(3, 24, seed=2)).sum().backward()
        grads.append((y.detach(), x.grad))
    assert torch.allclose(grads[0][0], grads[1][0], rtol=1e-6, atol=1e-6)
    assert torch.equal(grads[0][1], grads[1][1])


@pytest.mark.parametrize(("bits", "group"), [(3, 32), (4, 5), (4, 0), (8, 4096), (4, 2.0)])
def test_a_form_that_is_none(bits: int, group: int) -> None:
    with pytest.raises(ValueError, match=r"bits|groups"):
        Form(bits, group)  # type: ignore[arg-type]
