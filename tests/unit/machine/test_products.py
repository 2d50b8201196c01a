"""Operations are counted from the shapes of products, forward and backward."""

from __future__ import annotations

import torch

from tutelage.machine.products import Products


def test_products_of_both_passes_are_counted() -> None:
    weight = torch.randn(5, 7, requires_grad=True)
    x = torch.randn(3, 5, requires_grad=True)
    with Products() as products:
        (x @ weight).sum().backward()
    assert products.flops == 3 * 2 * 3 * 5 * 7
    x @ weight
    assert products.flops == 3 * 2 * 3 * 5 * 7, "not after it was left"


def test_numbers_stay_as_they_are() -> None:
    layer = torch.nn.Linear(16, 16)
    x = torch.randn(4, 16)
    plain = layer(x)
    with Products():
        assert torch.equal(layer(x), plain)
