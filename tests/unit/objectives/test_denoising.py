"""Denoising: each damage by itself, all of them together, and that it is learned."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.objectives.learning import (
    TEXTS,
    VOCABULARY,
    check_accumulation,
    check_overfits,
    check_start,
    ids_of,
)
from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.objectives import denoising
from tutelage.objectives.denoising import Noise, deleted, infilled, permuted
from tutelage.objectives.drawing import numbers
from tutelage.text.byte_level import byte_tokenizer, encoder_tokenizer, pair_tokenizer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

TOKENIZER = pair_tokenizer()
MASK, START, END = 3, 0, 1
NOISE = Noise.of(TOKENIZER, START)
IDS = st.lists(st.integers(10, 99), max_size=80)


def damaged(ids: list[int], noise: Noise = NOISE, seed: int = 0, row: int = 0) -> Example:
    return denoising.example(ids, noise, seed=seed, epoch=0, row=row)


@given(IDS, st.integers(0, 999), st.floats(0, 0.99), st.floats(0.1, 9))
@settings(max_examples=200, deadline=None)
def test_infilling_takes_out_a_share_and_leaves_the_rest_in_order(
    ids: list[int], row: int, share: float, mean: float
) -> None:
    found = infilled(ids, MASK, share, mean, numbers(0, 0, row))
    kept = [id for id in found if id != MASK]
    assert len(kept) == len(ids) - math.ceil(share * len(ids))
    left = iter(ids)
    assert all(id in left for id in kept), "a part of the text, in its order"
    assert all((a, b) != (MASK, MASK) for a, b in pairwise(found))


def test_spans_are_poisson() -> None:
    """Lengths of the spans of a long text, but for the last of each, which is cut to fit."""
    lengths: list[int] = []
    for row in range(60):
        found = infilled(list(range(10, 2010)), MASK, 0.3, 3.0, numbers(1, 0, row))
        edges = [9, *(id for id in found), 2010]
        for place, id in enumerate(edges):
            if id == MASK:
                lengths.append(edges[place + 1] - edges[place - 1] - 1)
    count = Counter(lengths)
    total = len(lengths)
    assert 60 * 180 < total < 60 * 220
    for length in range(8):
        expected = math.exp(-3) * 3**length / math.factorial(length)
        error = math.sqrt(expected / total)
        assert count[length] / total == pytest.approx(expected, abs=5 * error + 60 / total)


def test_a_span_of_no_tokens_puts_a_mask_in() -> None:
    """With a mean near zero nearly all spans are empty: masks stand between tokens that stay."""
    found = infilled(list(range(10, 60)), MASK, 0.02, 0.2, numbers(0, 0, 1))
    assert len([id for id in found if id != MASK]) == 49 and found.count(MASK) > 1


@given(IDS, st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_sentences_are_kept_whole(ids: list[int], row: int) -> None:
    found = permuted(ids, {10, 11}, numbers(0, 0, row))

    def sentences(of: list[int]) -> list[tuple[int, ...]]:
        made: list[tuple[int, ...]] = [()]
        for id in of:
            made[-1] += (id,)
            if id in (10, 11):
                made.append(())
        return [one for one in made if one]

    assert sorted(found) == sorted(ids)
    if ids and ids[-1] in (10, 11):  # else the last one may have moved before another
        assert Counter(sentences(found)) == Counter(sentences(ids))


def test_every_order_of_sentences_is_as_likely() -> None:
    text = [20, 10, 21, 10, 22, 10]
    found = Counter(tuple(permuted(text, {10}, numbers(0, 0, n))) for n in range(6000))
    assert len(found) == 6
    assert max(abs(count - 1000) for count in found.values()) < 5 * math.sqrt(1000)
    assert permuted([20, 10, 21], {10}, numbers(0, 0, 1)) in ([20, 10, 21], [21, 20, 10])
    assert permuted([], {10}, numbers(0, 0, 0)) == []


@given(IDS, st.integers(0, 999), st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_deletion_leaves_no_trace(ids: list[int], row: int, share: float) -> None:
    found = deleted(ids, share, numbers(0, 0, row))
    assert len(found) == len(ids) - round(share * len(ids))
    left = iter(ids)
    assert all(id in left for id in found)


def test_every_place_is_deleted_as_often() -> None:
    rows = [deleted(list(range(40)), 0.25, numbers(0, 0, n)) for n in range(4000)]
    gone = np.array([[id not in row for id in range(40)] for row in rows]).sum(0)
    assert abs(gone - 1000).max() < 5 * math.sqrt(750)


def test_the_encoder_reads_the_damage_and_the_decoder_says_the_whole() -> None:
    ids = ids_of("one two three. four five. six")
    found = damaged(ids)
    assert found.labels == (*ids, END) and found.ids == (START, *ids)
    assert found.memory[-1] == END and MASK in found.memory
    assert len([id for id in found.memory if id not in (MASK, END)]) == len(ids) - 9
    plain = Noise(MASK, START, (), (END,), NOISE.stops, infill=0.0, permute=False)
    assert damaged(ids, plain).memory == (*ids, END)
    shorter = Noise(MASK, START, (), (END,), NOISE.stops, infill=0.0, permute=False, delete=0.2)
    assert len(damaged(ids, shorter).memory) == len(ids) - 6 + 1
    around = Noise(MASK, START, (2,), (END,), frozenset())
    assert damaged(ids, around).labels == (2, *ids, END)
    assert damaged([]).memory == damaged([]).labels == (END,)


def test_damage_follows_from_seed_epoch_and_row_alone() -> None:
    ids = list(range(10, 90))
    assert damaged(ids, seed=3, row=7) == damaged(ids, seed=3, row=7)
    others = [damaged(ids), damaged(ids, seed=1), damaged(ids, row=1)]
    others.append(denoising.example(ids, NOISE, seed=0, epoch=1, row=0))
    assert len({found.memory for found in others}) == 4


def test_settings_come_from_the_tokenizer_or_are_refused() -> None:
    assert NOISE.mask == MASK and NOISE.before == () and NOISE.after == (END,)
    assert NOISE.stops == frozenset(ids_of(".!?"))
    made = encoder_tokenizer()
    bart = Tokenizer(made.json, SpecialTokens(eos="</s>", mask="<mask>"))
    assert (Noise.of(bart, 2).before, Noise.of(bart, 2).after) == ((0,), (2,))
    with pytest.raises(ConfigError) as caught:
        Noise.of(byte_tokenizer(), 0)
    assert caught.value.field == "mask_token"
    for field, value in (("infill", 1.0), ("delete", -0.1), ("mean", 0.0)):
        with pytest.raises(ConfigError) as caught:
            Noise.of(TOKENIZER, 0, **{field: value})
        assert caught.value.field == field


EIGHT = [damaged(ids_of(text), row=number) for number, text in enumerate(TEXTS)]
MODEL = "bart-tiny"


def test_a_fresh_model_knows_nothing() -> None:
    """Scores h w with |h|^2 = C and deviation 0.02: ln V and half of 0.02^2 C."""
    check_start(MODEL, EIGHT, denoising.loss, math.log(VOCABULARY) + 0.5 * 0.02**2 * 64, seeds=1)


def test_eight_rows_are_learned_by_heart() -> None:
    """By the pre-norm model, which learns in half the steps."""
    model = check_overfits("flan-t5-tiny", EIGHT, denoising.loss).eval()
    made: list[list[int]] = [[] for _ in EIGHT]
    for event in Engine(model).run([Job(row.memory, 60, frozenset({END})) for row in EIGHT]):
        made[event.index] += [] if event.token is None else [event.token]
    assert made == [ids_of(text) for text in TEXTS]


def test_eight_micro_batches_equal_one() -> None:
    check_accumulation(MODEL, EIGHT, denoising.loss)
