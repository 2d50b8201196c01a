"""Sparse patterns: no key that is seen is left out of `keys`, and long rows equal a dense mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.pack import Example, pack
from tutelage.nn import packed, sparse
from tutelage.nn.attend import Rule, Sees, batched, mask_of
from tutelage.nn.cache import Cache
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.nn.patterns import Blocks, Strided, Window
from tutelage.nn.positions import Alibi
from tutelage.nn.reading import DecodeStep

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


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_decoded_token_reads_what_its_pattern_shows(
    name: str, paged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of several lengths, two tokens of one of them in the same step: equal to attention over
    a dense mask, and no more keys are read than a token sees, up to a multiple of 32."""
    torch.manual_seed(1)
    lengths, slots, ahead = [200, 3, 157], torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 0, 1])
    rule = Rule(sees=PATTERNS[name], bias=Alibi(4))
    cache = Cache(1, 3, 224, (2, 8), torch.empty(0), blocks=30 if paged else None)
    if paged:
        cache.table = torch.randperm(30)[:21].view(3, 7)
    q, k, v = (torch.randn(3, 224, heads, 8) for heads in (4, 2, 2))
    for slot, length in enumerate(lengths):
        block, offset = cache.places(torch.full((length,), slot), torch.arange(length))
        cache.write(0, block, offset, k[slot, :length], v[slot, :length])
    cache.lengths = torch.tensor(lengths)
    read: list[int] = []
    picked = Cache.picked
    monkeypatch.setattr(
        Cache, "picked", lambda *asked: (read.append(asked[3].shape[1]), picked(*asked))[1]
    )
    places = cache.lengths[slots] + ahead
    new = [x[slots, places] for x in (q, k, v)]
    got = DecodeStep(cache, slots, ahead)(0, *new, rule)
    most = 0
    for mine, slot, place in zip(got, slots.tolist(), places.tolist(), strict=True):
        seen = torch.arange(place + 1)
        mask = mask_of(rule, torch.tensor([[place]]), seen, torch.float32)
        row = [x[slot : slot + 1, : place + 1] for x in (k, v)]
        expected = batched(q[slot : slot + 1, place : place + 1], *row, False, mask)[0][0, 0]
        assert (mine - expected).abs().max() < 1e-5
        most = max(most, len(PATTERNS[name].keys(place, place + 1, place + 1)))
    assert read == [-(-most // 32) * 32] and read[0] < 200


def test_a_decoded_token_of_a_narrow_cache_reads_its_pattern_too() -> None:
    torch.manual_seed(2)
    caches = [Cache(1, 1, 96, (2, 8), torch.empty(0), narrow=narrow) for narrow in (False, True)]
    q, k, v = (torch.randn(81, heads, 8) for heads in (4, 2, 2))
    found = []
    for cache in caches:
        block, offset = cache.places(torch.zeros(80, dtype=torch.long), torch.arange(80))
        cache.write(0, block, offset, k[:80], v[:80])
        cache.lengths = torch.tensor([80])
        rule = Rule(sees=Window(7))
        found.append(DecodeStep(cache)(0, q[80:], k[80:], v[80:], rule))
    assert 0 < (found[0] - found[1]).abs().max() < 0.05
