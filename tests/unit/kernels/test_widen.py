"""A matrix in few bits made wide by the C++ library: the very numbers of PyTorch's path."""

from __future__ import annotations

import pytest
import torch

from tests.unit.nn.test_quantized import FORMS, drawn
from tutelage.kernels.library import library
from tutelage.nn import quantized
from tutelage.nn.form import Form
from tutelage.nn.quantized import quantize

pytestmark = pytest.mark.skipif(library() is None, reason="built without a C++ compiler")


@pytest.mark.parametrize("form", [*FORMS, Form(8, 1024), Form(4, 30)], ids=str)
@pytest.mark.parametrize("columns", [1, 64, 97, 300])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_equal_to_pytorch(
    form: Form, columns: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows whose last group is not full, rows of zeros, and scales that round to zero too."""
    weight = drawn(7, columns)
    weight[1], weight[2] = 0, weight[2] * 1e-9
    codes = quantize(weight, form)
    found = codes.weight(dtype)
    monkeypatch.setattr(quantized, "computes", lambda _: False)
    assert torch.equal(found, codes.weight(dtype))
