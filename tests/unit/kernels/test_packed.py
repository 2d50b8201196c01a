"""Attention over packed rows by the C++ library, against float64 with every score written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.kernels import packed
from tutelage.kernels.library import library
from tutelage.kernels.packed import Pieces

pytestmark = pytest.mark.skipif(library() is None, reason="built without a C++ compiler")

Spans = list[tuple[int, int]]
HEADS = [(9, 3, 64), (4, 4, 8), (6, 1, 20), (2, 1, 16)]


def spans_of(lengths: list[int], prefix: int) -> tuple[Spans, int]:
    """Rows one after another behind the prefix, and the number of tokens."""
    spans, at = [], prefix
    for length in lengths:
        spans.append((at, length))
        at += length
    return spans, at


def draw(seed: int, tokens: int, heads: tuple[int, int, int]) -> list[Tensor]:
    """q, k, v and the gradient of y."""
    generator = torch.Generator().manual_seed(seed)
    counts = (heads[0], heads[1], heads[1], heads[0])
    return [torch.randn(tokens, count, heads[2], generator=generator) for count in counts]


def witness(q: Tensor, k: Tensor, v: Tensor, spans: Spans, prefix: int) -> tuple[Tensor, Tensor]:
    """One matrix of scores over all tokens, masked; tokens of no row see only themselves."""
    tokens, group = q.shape[0], q.shape[1] // k.shape[1]
    sees = torch.eye(tokens, dtype=torch.bool)
    for start, length in [(0, prefix), *spans]:
        sees[start : start + length, :prefix] |= start >= prefix
        rows = slice(start, start + length)
        sees[rows, rows] = torch.ones(length, length).tril().bool()
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("qhd,khd->qhk", q, k) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~sees[:, None], -torch.inf)
    return torch.einsum("qhk,khd->qhd", scores.softmax(-1), v), scores.logsumexp(-1)


@given(
    st.integers(0, 99),
    st.lists(st.integers(1, 130), min_size=1, max_size=5),
    st.sampled_from([0, 13, 50]),
    st.sampled_from(HEADS),
    st.sampled_from([0, 9]),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients(
    seed: int, lengths: list[int], prefix: int, heads: tuple[int, int, int], padding: int
) -> None:
    spans, used = spans_of(lengths, prefix)
    q, k, v, dy = draw(seed, used + padding, heads)
    dy[used:] = 0
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    expected, sums = witness(*wide, spans, prefix)
    expected.backward(dy.double())
    rows = Pieces.of(spans, prefix).with_prefix_row()
    y, lse = packed.forward(q, k, v, rows)
    assert torch.allclose(y[:used].double(), expected[:used], atol=1e-5)
    assert torch.allclose(lse[:used].double(), sums[:used], atol=1e-5)
    assert not y[used:].any(), "tokens that only fill up hold zeros"
    for found, leaf in zip(packed.backward(q, k, v, y, lse, dy, rows), wide, strict=True):
        assert leaf.grad is not None
        assert torch.allclose(found.double(), leaf.grad, atol=1e-4)


@given(st.integers(0, 9), st.sampled_from([1, 7, 48, 100]), st.sampled_from([0, 21]))
@settings(max_examples=20, deadline=None)
def test_rows_cut_in_runs_give_the_same_bits(seed: int, chunk: int, prefix: int) -> None:
    spans, used = spans_of([3, 160, 77], prefix)
    q, k, v, _ = draw(seed, used, (6, 2, 16))
    whole = packed.forward(q, k, v, Pieces.of(spans, prefix).with_prefix_row())
    cut = packed.forward(q, k, v, Pieces.of(spans, prefix, chunk).with_prefix_row(chunk))
    assert torch.equal(whole[0], cut[0]) and torch.equal(whole[1], cut[1])


def test_a_prefix_kept_elsewhere_is_seen_as_one_in_front() -> None:
    spans, used = spans_of([5, 40], 17)
    q, k, v, _ = draw(0, used, (4, 2, 8))
    together = packed.forward(q, k, v, Pieces.of(spans, 17).with_prefix_row())
    moved = [(start - 17, length) for start, length in spans]
    own = [x[17:] for x in (q, k, v)]
    apart = packed.forward(*own, Pieces.of(moved, 0).seeing(17), (k[:17], v[:17]))
    assert torch.equal(together[0][17:], apart[0]) and torch.equal(together[1][17:], apart[1])


def test_bfloat16_is_rounded_once() -> None:
    """Sums are float32 inside: the result is the float32 one of the same inputs, rounded."""
    spans, used = spans_of([90, 33], 12)
    half = [x.bfloat16() for x in draw(0, used, (6, 2, 64))]
    full = [x.float() for x in half]
    rows = Pieces.of(spans, 12).with_prefix_row()
    (y, lse), (wide, wide_lse) = packed.forward(*half[:3], rows), packed.forward(*full[:3], rows)
    assert torch.equal(y, wide.bfloat16()) and torch.equal(lse, wide_lse)
    found = packed.backward(*half[:3], y, lse, half[3], rows)
    exact = packed.backward(*full[:3], y.float(), lse, full[3], rows)
    for one, other in zip(found, exact, strict=True):
        assert torch.equal(one, other.bfloat16())


def test_scores_of_any_size_stay_finite() -> None:
    spans, used = spans_of([40], 0)
    q, k, v, dy = draw(3, used, (2, 2, 16))
    rows = Pieces.of(spans, 0)
    y, lse = packed.forward(q * 1e3, k * 1e3, v, rows)
    expected, _ = witness((q * 1e3).double(), (k * 1e3).double(), v.double(), spans, 0)
    assert torch.allclose(y.double(), expected, atol=1e-3)
    for grad in packed.backward(q * 1e3, k * 1e3, v, y, lse, dy, rows):
        assert torch.isfinite(grad).all()


def test_the_same_call_gives_the_same_bits() -> None:
    """Threads take rows by number and add up shared gradients in order."""
    spans, used = spans_of([60, 41, 90, 7, 120], 30)
    q, k, v, dy = draw(5, used, (9, 3, 64))
    rows = Pieces.of(spans, 30).with_prefix_row()
    y, lse = packed.forward(q, k, v, rows)
    first = packed.backward(q, k, v, y, lse, dy, rows)
    for _ in range(20):
        again = packed.backward(q, k, v, y, lse, dy, rows)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
