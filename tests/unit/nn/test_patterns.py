"""Sparse patterns: no key that is seen is left out of `keys`, and long rows equal a dense mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.pack import Example, pack
from tutelage.nn import packed, sparse
from tutelage.nn.attend import Rule, Sees, batched, mask_of
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.nn.patterns import Blocks, Strided, Window

PATTERNS: dict[str, Sees] = {
    "window": Window(7),
    "strided": Strided(6),
    "blocks": Blocks(4, near=1, everywhere=1, random=2),
    "blocks apart": Blocks(5, near=0, everywhere=0, random=1, seed=3),
}


@given(
    st.sampled_from(sorted(PATTERNS)), st.integers(1, 70), st.integers(0, 69), st.integers(1, 30)
)
def test_keys_hold_all_that_is_seen(name: str, length: int, start: int, count: int) -> None:
    start = min(start, length - 1)
    stop = min(start + count, length)
    sees = PATTERNS[name]
    places = torch.arange(length)
    seen = sees(places[None, start:stop, None], places)[0].any(0)
    kept = sees.keys(start, stop, length)
    assert set(torch.where(seen)[0].tolist()) <= set(kept.tolist())
    assert kept.tolist() == sorted(set(kept.tolist()))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", PATTERNS)
def test_long_rows_equal_a_dense_mask(
    name: str, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients, rows of several lengths side by side."""
    for module in (packed, sparse):
        monkeypatch.setattr(module, "QUERIES", 8)
    torch.manual_seed(0)
    lengths = (50, 33, 47)
    rule = Rule(causal=causal, sees=PATTERNS[name])
    found = pack([Example.read(range(n)) for n in lengths], share=False)
    tensors = [torch.randn(sum(lengths), h, 8, requires_grad=True) for h in (4, 2, 2)]
    got = PackedAttention(Layout.of(found))(0, *tensors, rule)
    parts, at = [], 0
    for length in lengths:
        places = torch.arange(length)
        mask = mask_of(rule, places[None], places, torch.float32)
        rows = [x[None, at : at + length] for x in tensors]
        parts.append(batched(rows[0], rows[1], rows[2], False, mask)[0][0])
        at += length
    expected = torch.cat(parts)
    assert torch.allclose(got, expected, atol=1e-5)
    weights = torch.randn_like(got)
    ours = torch.autograd.grad((got * weights).sum(), tensors)
    theirs = torch.autograd.grad((expected * weights).sum(), tensors)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))
