"""Attention of many heads equals a loop over single heads, each a part of its own."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.pack import Example, pack
from tutelage.nn.attend import Rule
from tutelage.nn.attention import Attention, FusedAttention, Heads, Order, Pass
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.nn.positions import Alibi
from tutelage.nn.rope import Rope

WIDTH, D = 24, 8


def passes(lengths: tuple[int, ...], rotated: bool) -> tuple[Pass, int]:
    found = pack([Example.read(range(n)) for n in lengths], share=False)
    angles = None
    if rotated:
        cos, sin = Rope(D).angles(torch.from_numpy(found.positions))
        angles = (cos, sin)
    return Pass(0, PackedAttention(Layout.of(found)), angles), sum(lengths)


def filled(part: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)


def alone(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Attention:
    """One head with these rows of the projections."""
    head = Attention(WIDTH, Heads(1, 1, D), Rule())
    for part, weight in ((head.q, q), (head.k, k), (head.v, v)):
        part.weight.data = weight
    return head


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("shared", [4, 2, 1])
def test_many_heads_are_single_heads_side_by_side(shared: int, rotated: bool) -> None:
    """Heads of their own keys, in groups, and all with the same keys."""
    whole = Attention(WIDTH, Heads(4, shared, D))
    filled(whole)
    at, tokens = passes((7, 1, 12), rotated)
    x = torch.randn(tokens, WIDTH)
    q, k, v = (part.weight.view(-1, D, WIDTH) for part in (whole.q, whole.k, whole.v))
    with torch.no_grad():
        parts = [alone(q[h], k[h * shared // 4], v[h * shared // 4]).mix(x, at) for h in range(4)]
        assert (whole.mix(x, at) - torch.cat(parts, dim=1)).abs().max() < 1e-5


@pytest.mark.parametrize("order", ["thirds", "heads"])
def test_a_fused_projection_too(order: Order) -> None:
    whole = FusedAttention(WIDTH, Heads(3, 3, D), order=order, bias=False)
    filled(whole)
    at, tokens = passes((5, 9), rotated=False)
    x = torch.randn(tokens, WIDTH)
    q, k, v = (whole.qkv.weight[rows].view(3, D, WIDTH) for rows in whole.rows())
    with torch.no_grad():
        parts = [alone(q[h], k[h], v[h]).mix(x, at) for h in range(3)]
        assert (whole.mix(x, at) - torch.cat(parts, dim=1)).abs().max() < 1e-5


def test_each_head_has_its_own_slope() -> None:
    """ALiBi's, whose heads differ by more than their weights."""
    slopes = Alibi(4)
    whole = Attention(WIDTH, Heads(4, 4, D), Rule(bias=slopes))
    filled(whole)
    at, tokens = passes((6, 11), rotated=False)
    x = torch.randn(tokens, WIDTH)
    q, k, v = (part.weight.view(-1, D, WIDTH) for part in (whole.q, whole.k, whole.v))
    with torch.no_grad():
        found = whole.mix(x, at).view(tokens, 4, D)
        for h in range(4):
            head = alone(q[h], k[h], v[h])
            head.rule = Rule(bias=lambda distance, h=h: slopes(distance)[:, h : h + 1])
            assert (found[:, h] - head.mix(x, at)).abs().max() < 1e-5
