"""Weights in few bits: against loops over the published rules, and against gguf's own numbers."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from tutelage.nn.form import Form
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import QuantizedEmbedding, QuantizedLinear, quantize

FORMS = [
    Form(8),
    Form(4),
    Form(8, 8),
    Form(4, 6),
    Form(4, 128),
    Form(4, 32, True),
    Form(4, 6, True),
]


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
            start = 0.0
            if form.minimum:
                scale, low, high = (max(group) - min(group)) / 15, 0, 15
                start = float(torch.tensor(min(group)).half())
            elif form.bits == 8:
                scale, low, high = max(abs(w) for w in group) / 127, -128, 127
            else:
                scale, low, high = max(group, key=abs) / -8, -8, 7
            scale = float(torch.tensor(scale).half())
            for at, w in enumerate(group):
                q = 0 if scale == 0 else min(max(round((w - start) / scale), low), high)
                found[row, first + at] = torch.tensor(q * scale) + start  # in float32
    return found


@pytest.mark.parametrize("columns", [64, 37])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_against_loops(form: Form, columns: int) -> None:
    weight = drawn(5, columns)
    weight[2] = 0
    got = quantize(weight, form).weight(torch.float32)
    assert got.shape == weight.shape
    assert torch.equal(got, by_loops(weight, form))
    assert quantize(weight, form).form == form


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_layout_is_the_one_that_kernels_are_promised(form: Form) -> None:
    """Read byte by byte, as the head of the file says."""
    codes = quantize(drawn(3, 50), form)
    rows, groups, half = 3, -(-50 // form.group), form.group // 2
    numbers = codes.numbers.numpy().tobytes()
    scales = np.frombuffer(codes.scales.numpy().tobytes(), "<f2").astype(np.float32)
    found = np.zeros((rows, groups * form.group), np.float32)
    for at in range(rows * groups):
        for place in range(form.group):
            if form.bits == 8:
                q = float(np.frombuffer(numbers, np.int8)[at * form.group + place])
            else:
                byte = numbers[at * half + place % half]
                q = byte & 15 if place < half else byte >> 4
                q = q if form.minimum else q - 8
            start = float(codes.minimums.flatten()[at]) if codes.minimums is not None else 0.0
            row, first = at // groups, at % groups * form.group
            found[row, first + place] = scales[at] * q + start
    expected = codes.weight(torch.float32).numpy()
    np.testing.assert_allclose(found[:, :50], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("form", "kind"), [(Form(8), "Q8_0"), (Form(4), "Q4_0"), (Form(4, 32, True), "Q4_1")]
)
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
    parts = (codes.numbers, codes.scales, codes.minimums)
    held = sum(t.numel() * t.element_size() for t in parts if t is not None)
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


def test_a_table_gives_the_rows_of_its_matrix() -> None:
    table = QuantizedEmbedding(quantize(drawn(9, 40), Form(8)), "embed", torch.float32)
    ids = torch.tensor([3, 3, 8, 0])
    assert torch.equal(table(ids), table.weight[ids]) and table.vocabulary == 9
    assert not list(table.parameters()) and not table.state_dict()


def test_a_number_farther_from_zero_than_the_last_group_is_filled_with() -> None:
    """Zeros behind numbers that are all near 5 would waste most of the steps."""
    weight = 5 + 0.01 * drawn(4, 40)
    apart = (quantize(weight, Form(4, 32, True)).weight(torch.float32) - weight).abs().max()
    assert apart < 0.05


@pytest.mark.parametrize("bits", [8, 3])
def test_minimums_are_of_4_bits_alone(bits: int) -> None:
    with pytest.raises(ValueError, match=r"bits"):
        Form(bits, 32, True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bits", "group"), [(3, 32), (4, 5), (4, 0), (8, 4096), (4, 2.0)])
def test_a_form_that_is_none(bits: int, group: int) -> None:
    with pytest.raises(ValueError, match=r"bits|groups"):
        Form(bits, group)  # type: ignore[arg-type]
