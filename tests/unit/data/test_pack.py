"""Packing: nothing lost, nothing twice, positions and labels right, whatever the rows."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.pack import (
    SHARED_FROM,
    Example,
    Pack,
    batch,
    common_prefix,
    pack,
    shared_prefix,
)

TOKEN = st.integers(1, 5)  # few kinds, so that prefixes are often common; 0 is what fills up


@st.composite
def rows(draw: st.DrawFn) -> list[Example]:
    start = tuple(draw(st.lists(TOKEN, max_size=20)))
    count = draw(st.integers(1, 9))
    found = []
    for _ in range(count):
        prompt = start + tuple(draw(st.lists(TOKEN, min_size=0 if start else 1, max_size=12)))
        completion = tuple(draw(st.lists(TOKEN, min_size=1, max_size=8)))
        found.append(Example.answer(prompt, completion, draw(st.sampled_from([1.0, 0.5, 2.0]))))
    return found


def spans_of(found: Pack, examples: list[Example]) -> list[tuple[int, int]]:
    """Where each row's own tokens stand, from the rows alone."""
    spans, start = [], found.prefix
    for example in examples:
        spans.append((start, start + example.inputs - found.prefix))
        start = spans[-1][1]
    return spans


@given(rows(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_tokens_positions_and_labels(examples: list[Example], share: bool) -> None:
    found = pack(examples, share)
    spans = spans_of(found, examples)
    own = spans[-1][1]
    assert len(found.ids) == len(found.positions) == len(found.back) == own
    assert share or found.prefix == 0
    labels = iter(zip(found.select, found.labels, found.owner, found.weights, strict=True))
    for number, (example, (start, end)) in enumerate(zip(examples, spans, strict=True)):
        row = [*range(found.prefix), *range(start, end)]
        assert found.ids[row].tolist() == list(example.ids)
        assert found.positions[row].tolist() == list(range(len(example.ids)))
        for place, label in enumerate(example.labels, start=example.at[0] + 1):
            at, wanted, owner, weight = next(labels)
            assert at == row[place - 1], "a label stands at the token before it"
            assert (wanted, owner, weight) == (label, number, np.float32(example.weight))
    assert next(labels, None) is None


@given(rows())
@settings(max_examples=300, deadline=None)
def test_buckets_hold_every_row_once(examples: list[Example]) -> None:
    found = pack(examples)
    spans = spans_of(found, examples)
    own = spans[-1][1]
    index = np.concatenate([bucket.index for bucket in found.buckets])
    assert (index[found.back[:own]] == np.arange(own)).all()
    standing = []
    for bucket in found.buckets:
        for row in bucket.index.reshape(bucket.rows, bucket.length):
            assert row[: found.prefix].tolist() == list(range(found.prefix))
            start = int(row[found.prefix])
            end = dict(spans)[start]
            length = end - start
            assert row[found.prefix :][:length].tolist() == list(range(start, end))
            assert (row[found.prefix + length :] == end - 1).all(), "padded on the right"
            standing.append((start, end))
    assert sorted(standing) == sorted(spans)


@given(rows())
@settings(max_examples=200, deadline=None)
def test_the_prefix_is_common_and_leaves_each_prompt_a_token(examples: list[Example]) -> None:
    prompts = [example.ids[: example.at[0] + 1] for example in examples]
    length = common_prefix(prompts)
    assert all(prompt[:length] == prompts[0][:length] for prompt in prompts)
    assert all(len(prompt) > length for prompt in prompts) or length == 0
    longest = max(
        (
            n
            for n in range(min(map(len, prompts)))
            if all(prompt[:n] == prompts[0][:n] for prompt in prompts)
        ),
        default=0,
    )
    assert length == (longest if longest >= SHARED_FROM and len(prompts) > 1 else 0)


@given(rows(), st.integers(1, 80), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_batches_hold_every_row_once_within_the_capacity(
    examples: list[Example], capacity: int, window: int, seed: int
) -> None:
    order = random.Random(seed).sample(range(len(examples)), len(examples))
    steps = batch(examples, order, capacity, window)
    assert sorted(i for step in steps for i in step) == list(range(len(examples)))
    assert all(steps)
    for step in steps:
        tokens = len(pack([examples[i] for i in step]).ids)
        assert tokens <= capacity or len(step) == 1


def test_batches_are_filled() -> None:
    """First fit over the open steps: rows of half the capacity stand in pairs."""
    examples = [Example.answer((i,), tuple(range(10))) for i in range(12)]
    assert [len(step) for step in batch(examples, range(12), 20)] == [2] * 6
    assert batch(examples, range(12), 9) == [[i] for i in range(12)]


def test_rows_of_like_length_share_a_bucket() -> None:
    """Two lengths far apart are cut apart where the padding would cost more than a bucket."""
    short = [Example.answer((1, 2), (3,)) for _ in range(64)]
    long = [Example.answer((4,) * 900, (3,)) for _ in range(2)]
    buckets = pack(short + long).buckets
    assert sorted((bucket.rows, bucket.length) for bucket in buckets) == [(2, 900), (64, 2)]


def test_no_prompts_have_no_prefix() -> None:
    assert common_prefix([]) == 0


def test_a_pair_trains_all_of_its_target_but_what_is_given() -> None:
    found = Example.pair([5, 6, 1], [7, 8, 1], 0)
    assert found == Example((0, 7, 8), (0, 1, 2), (7, 8, 1), memory=(5, 6, 1))
    given = Example.pair([5], [2, 8, 1], 0, given=1, weight=2.0, name="r")
    assert given == Example((0, 2, 8), (1, 2), (8, 1), 2.0, "r", (5,))


def test_a_step_has_room_for_what_encoders_read() -> None:
    rows = [Example.pair([5] * source, [7] * 4, 0) for source in (6, 16, 6, 6)]
    assert [row.inputs for row in rows] == [10, 20, 10, 10]
    assert batch(rows, range(4), 20) == [[0, 2], [1], [3]]
    assert shared_prefix(rows) == 0, "sources are seen by all of a row"
