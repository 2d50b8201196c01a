"""Scores of a vocabulary: of bfloat16 numbers, but not rounded to them."""

from __future__ import annotations

import pytest
import torch

from tutelage.nn.form import Form
from tutelage.nn.head import CHUNK, ROUNDED, scores
from tutelage.nn.quantized import QuantizedEmbedding, quantize


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rows", [1, 3, ROUNDED])
def test_scores_of_a_few_rows_are_not_rounded(rows: int, biased: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 96).bfloat16(), torch.randn(CHUNK + 7, 96).bfloat16()
    bias = torch.randn(CHUNK + 7).bfloat16() if biased else None
    found = scores(x, weight, bias)
    exact = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-4
    rounded = torch.nn.functional.linear(x, weight, bias).double()
    assert (rounded - exact).abs().max() > 1e-2, "what PyTorch's own product would lose"


def test_the_two_likeliest_tokens_are_told_apart() -> None:
    """25.06 and 25.0 are one number of bfloat16."""
    x, weight = torch.ones(1, 2).bfloat16(), torch.tensor([[25.0, 0.0], [25.0, 0.0625]]).bfloat16()
    assert torch.nn.functional.linear(x, weight).argmax() == 0
    assert scores(x, weight, None).argmax() == 1


def test_many_rows_are_one_product() -> None:
    x, weight = torch.randn(ROUNDED + 1, 32).bfloat16(), torch.randn(50, 32).bfloat16()
    assert torch.equal(scores(x, weight, None), torch.nn.functional.linear(x, weight).float())


def test_float32_is_a_plain_product() -> None:
    x, weight, bias = torch.randn(3, 32), torch.randn(50, 32), torch.randn(50)
    assert torch.equal(scores(x, weight, bias), torch.nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("rows", [2, ROUNDED + 1])
def test_a_table_in_few_bits_is_the_matrix_that_it_stands_for(rows: int) -> None:
    x, bias = torch.randn(rows, 64).bfloat16(), torch.randn(CHUNK + 7).bfloat16()
    codes = quantize(torch.randn(CHUNK + 7, 64), Form(8))
    held = QuantizedEmbedding(codes, "embed", torch.bfloat16)
    expected = scores(x, codes.weight(torch.bfloat16), bias)
    # Of many rows product and sum are each rounded; of a few neither is.
    off = (scores(x, held, bias) - expected).abs()
    assert bool((off <= (0.02 * expected.abs() + 0.02 if rows > ROUNDED else 1e-5)).all())
