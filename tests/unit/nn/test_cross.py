"""Attention to another sequence's tokens: packed, read into a cache and decoded, against loops."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.data.pack import Example, memory_of, pack
from tutelage.nn.attend import Rule
from tutelage.nn.attention import CrossAttention, Heads, Pass
from tutelage.nn.cache import Cache
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.nn.reading import DecodeStep, ReadPrompts

WIDTH = 8
PAIRS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=7)
HEADS = st.sampled_from([(4, 4), (4, 2), (6, 1)])
RULES = [Rule(causal=False), Rule(causal=False, scale=1.0)]
Rows = list[tuple[int, int]]


def examples(rows: Rows) -> list[Example]:
    """Of `(target, source)` lengths."""
    return [
        Example((1,) * target, (target - 1,), (0,), memory=(1,) * source) for target, source in rows
    ]


def drawn(count: int, heads: int, seed: int) -> Tensor:
    return torch.randn(count, heads, WIDTH, generator=torch.Generator().manual_seed(seed))


def witness(q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
    """One row's tokens, head by head, in float64."""
    scale = WIDTH**-0.5 if rule.scale is None else rule.scale
    found = torch.zeros(q.shape, dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    for token in range(len(q)):
        for head in range(q.shape[1]):
            scores = torch.stack([q[token, head] @ one for one in k[:, head // group]]) * scale
            shares = torch.softmax(scores.double(), 0)
            found[token, head] = (shares[:, None] * v[:, head // group].double()).sum(0)
    return found


def attended(rows: Rows, q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
    """Every row by the witness, all rows one after the other."""
    targets, sources = zip(*rows, strict=True)
    parts = zip(q.split(targets), k.split(sources), v.split(sources), strict=True)
    return torch.cat([witness(*part, rule) for part in parts])


@given(PAIRS, HEADS, st.sampled_from(RULES), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_packed_rows_see_their_own_source_and_no_other(
    rows: Rows, heads: tuple[int, int], rule: Rule, seed: int
) -> None:
    found, memory = pack(examples(rows)), memory_of(examples(rows))
    q = drawn(len(found.ids), heads[0], seed)
    k, v = (drawn(len(memory.ids), heads[1], seed + n) for n in (100, 200))
    layout = Layout.of(found, memory=memory)
    mixed = PackedAttention(layout).cross(0, q, lambda: (k, v), rule)
    assert torch.allclose(mixed.double(), attended(rows, q, k, v, rule), atol=1e-5)


def test_gradients_reach_the_source() -> None:
    rows = [(3, 5), (1, 2), (4, 7)]
    found, memory = pack(examples(rows)), memory_of(examples(rows))
    start = [drawn(8, 4, 1), drawn(14, 2, 2), drawn(14, 2, 3)]
    wide = [x.clone().double().requires_grad_() for x in start]
    ours = [x.clone().requires_grad_() for x in start]
    layout = Layout.of(found, memory=memory)
    turn = drawn(8, 4, 4)
    mixed = PackedAttention(layout).cross(0, ours[0], lambda: (ours[1], ours[2]), RULES[0])
    (mixed * turn).sum().backward()
    targets, sources = zip(*rows, strict=True)
    total = torch.zeros((), dtype=torch.float64)
    splits = [wide[0].split(targets), wide[1].split(sources), wide[2].split(sources)]
    for q, k, v, along in zip(*splits, turn.split(targets), strict=True):
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        shares = torch.einsum("thd,shd->hts", q, k).div(WIDTH**0.5).softmax(-1)
        total = total + (torch.einsum("hts,shd->thd", shares, v) * along).sum()
    total.backward()
    for mine, expected in zip(ours, wide, strict=True):
        assert mine.grad is not None and expected.grad is not None
        assert torch.allclose(mine.grad.double(), expected.grad, atol=1e-5)
        assert expected.grad.abs().amax((1, 2)).min() > 0, "every token counts"


def read(cache: Cache, rows: Rows, slots: list[int], k: Tensor, v: Tensor, q: Tensor) -> Tensor:
    found, memory = pack(examples(rows)), memory_of(examples(rows))
    sources = torch.tensor([source for _, source in rows])
    of_row = torch.tensor(slots)
    lengths = torch.tensor([target for target, _ in rows])
    attend = ReadPrompts(
        cache, Layout.of(found, memory=memory), torch.repeat_interleave(of_row, lengths),
        torch.from_numpy(found.positions), of_row, sources,
    )  # fmt: skip
    return attend.cross(0, q, lambda: (k, v), RULES[0])


@given(PAIRS, PAIRS, HEADS, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_sources_are_kept_in_their_slots(
    first: Rows, second: Rows, heads: tuple[int, int], seed: int
) -> None:
    """Read in two groups, of which the later may have longer sources, then some slots dropped."""
    rows = [*first, *second]
    count = len(rows) + 1
    cache = Cache(1, count, 16, (heads[1], WIDTH), torch.empty(0))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()[:-1]
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    for group, slots in ((first, order[: len(first)]), (second, order[len(first) :])):
        sources = [source for _, source in group]
        q = drawn(sum(target for target, _ in group), heads[0], seed)
        k, v = (drawn(sum(sources), heads[1], seed + n) for n in (1, 2))
        mixed = read(cache, group, slots, k, v, q)
        assert torch.allclose(mixed.double(), attended(group, q, k, v, RULES[0]), atol=1e-5)
        kept |= dict(zip(slots, zip(k.split(sources), v.split(sources), strict=True), strict=True))
    for slots in (sorted(kept), sorted(kept)[::2]):
        if len(slots) < len(kept):
            cache.keep(torch.tensor(slots))
            kept = {new: kept[old] for new, old in enumerate(slots)}
        q = drawn(cache.slots, heads[0], seed + 3)
        mixed = DecodeStep(cache).cross(0, q, _never, RULES[0])
        assert torch.isfinite(mixed).all(), "in slots without a row too"
        for slot, (k, v) in kept.items():
            expected = witness(q[slot : slot + 1], k, v, RULES[0])
            assert torch.allclose(mixed[slot].double(), expected[0], atol=1e-5)


def _never() -> tuple[Tensor, Tensor]:
    raise AssertionError("what is kept is not computed again")


def test_the_projections_are_made_once_a_source() -> None:
    """A memory of M tokens gives keys and values of K heads; the rule is not causal."""
    cross = CrossAttention(12, Heads(4, 2, WIDTH), bias=True)
    for parameter in cross.parameters():
        torch.nn.init.normal_(parameter)
    rows = [(2, 3), (1, 4)]
    found, memory = pack(examples(rows)), memory_of(examples(rows))
    x, vectors = torch.randn(3, 12), torch.randn(7, 12)
    attend = PackedAttention(Layout.of(found, memory=memory))
    mixed = cross.mix(x, Pass(0, attend, memory=vectors))
    q, k, v = (
        part(of).view(len(of), -1, WIDTH)
        for part, of in ((cross.q, x), (cross.k, vectors), (cross.v, vectors))
    )
    expected = attended(rows, q, k, v, Rule(causal=False)).reshape(3, -1)
    assert torch.allclose(mixed.double(), expected, atol=1e-5)
    assert (cross.q.role, cross.k.role, cross.v.role) == ("cross.q", "cross.k", "cross.v")
