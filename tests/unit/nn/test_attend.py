"""Attention over rectangles, joined parts and cached rows, against PyTorch's own attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.parity.witness import pair
from tutelage.nn.attend import batched, join, rectangle
from tutelage.nn.cache import STEP, Cache


def draw(seed: int, rows: int, queries: int, keys: int, heads: int, shared: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, queries, heads, 8), (rows, keys, shared, 8), (rows, keys, shared, 8)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def witness(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Softmax written out in float64, head by head."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("bthd,bshd->bhts", q.double(), k.double()) / q.shape[-1] ** 0.5
    if causal:
        hidden = torch.ones(scores.shape[-2:]).triu(1).bool()
        scores = scores.masked_fill(hidden, -torch.inf)
    mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v.double())
    return mixed, scores.logsumexp(-1)


@given(
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 20),
    st.sampled_from([(4, 4), (4, 2), (6, 1)]),
)
@settings(max_examples=60, deadline=None)
def test_a_causal_rectangle(seed: int, rows: int, length: int, heads: tuple[int, int]) -> None:
    q, k, v = draw(seed, rows, length, length, *heads)
    mixed, lse = rectangle(q, k, v, causal=True)
    expected, sums = witness(q, k, v, True)
    assert torch.allclose(mixed.double(), expected, atol=1e-5)
    assert torch.allclose(lse.double(), sums, atol=1e-5)


@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_a_full_rectangle(seed: int, queries: int, keys: int) -> None:
    q, k, v = draw(seed, 2, queries, keys, 4, 2)
    mixed, lse = rectangle(q, k, v, causal=False)
    expected, sums = witness(q, k, v, False)
    assert torch.allclose(mixed.double(), expected, atol=1e-5)
    assert torch.allclose(lse.double(), sums, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_batched_products_agree_with_flash_attention(causal: bool) -> None:
    q, k, v = draw(0, 2, 40, 40, 6, 2)
    flash, plain = rectangle(q, k, v, causal), batched(q, k, v, causal)
    assert torch.allclose(plain[0], flash[0], atol=1e-5)
    assert torch.allclose(plain[1], flash[1], atol=1e-5)


def test_scores_of_any_size_stay_finite() -> None:
    """The largest score is subtracted first: exp never overflows."""
    q, k, v = draw(1, 1, 9, 9, 4, 2)
    mixed, lse = rectangle(q * 1e3, k * 1e3, v, causal=True)
    expected, sums = witness(q * 1e3, k * 1e3, v, True)
    assert torch.isfinite(mixed).all() and torch.isfinite(lse).all()
    assert torch.allclose(mixed.double(), expected, atol=1e-3)
    assert torch.allclose(lse.double(), sums, rtol=1e-5)


@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 20))
@settings(max_examples=40, deadline=None)
def test_joined_parts_are_attention_to_both(
    seed: int, first: int, second: int, scale: float
) -> None:
    q, k, v = draw(seed, 1, 5, first + second, 4, 2)
    q = q * scale
    parts = []
    for part in (slice(0, first), slice(first, None)):
        mixed, lse = rectangle(q, k[:, part], v[:, part], causal=False)
        parts.append((mixed[0], lse[0].transpose(0, 1)))
    expected, _ = witness(q, k, v, False)
    assert torch.allclose(join(*parts).double(), expected[0], atol=1e-4)


def test_a_cache_says_its_size_and_keeps_rows_in_order() -> None:
    cache = Cache(2, 5, 33, (2, 8), torch.empty(0))
    assert cache.room == 2 * STEP and cache.slots == 5
    total = cache.keys.nbytes + cache.values.nbytes
    assert total == 5 * Cache.bytes_per_slot(2, 33, (2, 8), 4)
    cache.keys[:] = torch.arange(5.0)[None, :, None, None, None]
    cache.lengths[:] = torch.arange(5)
    cache.keep(torch.tensor([3, 1]))
    assert cache.slots == 2
    assert cache.lengths.tolist() == [3, 1]
    assert cache.keys[0, :, 0, 0, 0].tolist() == [3.0, 1.0]


@pytest.mark.parametrize("span", [STEP - 5, STEP, 2 * STEP + 3])
def test_the_blocks_of_a_row_in_one_piece(span: int) -> None:
    """Token t stands in place t mod S of the row's block t div S; rows may share blocks."""
    cache = Cache(1, 2, 3 * STEP, (2, 4), torch.empty(0), blocks=5)
    cache.table[:] = torch.tensor([[3, 0, 4], [3, 2, 1]])
    cache.keys.copy_(torch.randn(cache.keys.shape))
    cache.copy_block(4, 1)
    keys, _ = cache.gathered(0, torch.tensor([1, 0]), span)
    assert keys.shape == (2, 2, span, 4)
    for row, slot in enumerate((1, 0)):
        for token in range(span):
            block, place = cache.places(torch.tensor([slot]), torch.tensor([token]))
            assert torch.equal(keys[row, :, token], cache.keys[0, block[0], :, place[0]])
    assert torch.equal(cache.keys[:, 1], cache.keys[:, 4])


@pytest.mark.parametrize("rows", [[3, 1], [0, 2, 3, 4], [4, 3, 2, 1, 0], [1, 1, 0], [2] * 7])
def test_rows_kept_are_those_asked_for_in_every_layer(rows: list[int]) -> None:
    cache = Cache(3, 5, 33, (2, 8), torch.empty(0))
    cache.keys[:], cache.values[:] = torch.rand(2, *cache.keys.shape)
    keys, values, room = cache.keys.clone(), cache.values.clone(), cache.keys.data_ptr()
    cache.keep(torch.tensor(rows))
    assert torch.equal(cache.keys, keys[:, rows])
    assert torch.equal(cache.values, values[:, rows])
    assert cache.keys.is_contiguous()
    # Fewer rows stay where they are: a copy of all would lie beside them.
    assert (cache.keys.data_ptr() == room) == (len(rows) <= 5)


def test_frequencies_do_not_depend_on_who_shares_the_batch() -> None:
    """Rotations follow from positions alone, except where scaling is dynamic by definition."""
    _, model = pair()
    alone = model.rope.angles(torch.arange(5))
    together = model.rope.angles(torch.cat([torch.arange(5), torch.arange(60)]))
    for own, shared in zip(alone, together, strict=True):
        assert torch.equal(own, shared[:5])
