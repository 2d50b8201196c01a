"""Span corruption: T5's lengths, nothing lost, cuts as random as theirs, and that it is learned."""

from __future__ import annotations

import math
from collections import Counter

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
from tests.unit.tokenizers.corpora import SENTINELS, learnt
from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.objectives import span_corruption
from tutelage.objectives.drawing import numbers, parts
from tutelage.objectives.span_corruption import Spans
from tutelage.text.byte_level import byte_tokenizer, pair_tokenizer
from tutelage.tokenizers.sentinels import sentinel_ids

START, END = 0, 1
SPANS = Spans(tuple(range(VOCABULARY - 1, 259, -1)), START, END)
T5 = Spans(tuple(range(32099, 31999, -1)), START, END)


def corrupted(ids: list[int], spans: Spans = SPANS, seed: int = 0, row: int = 0) -> Example:
    return span_corruption.example(ids, spans, seed=seed, epoch=0, row=row)


def restored(found: Example, spans: Spans) -> list[int]:
    """The text, from source and target alone."""
    said: dict[int, list[int]] = {}
    at: list[int] = []
    for id in found.labels[:-1]:
        if id in spans.sentinels:
            at = said.setdefault(id, [])
        else:
            at.append(id)
    return [
        id for one in found.memory[:-1] for id in (said[one] if one in spans.sentinels else [one])
    ]


def test_lengths_are_the_published_ones() -> None:
    """512 tokens of source come of 568 of text, with 114 of target: 85 tokens in 28 spans."""
    assert T5.text_length(512) == 568
    assert T5.lengths(568) == (512, 114) and T5.lengths(569)[0] > 512
    assert T5.count(568) == (85, 28)
    found = corrupted(list(range(100, 668)), T5)
    assert (len(found.memory), found.trained, len(found.ids)) == (512, 114, 114)
    for source in range(32, 1200):
        text, target = released(source)
        assert T5.text_length(source) == text and T5.lengths(text)[1] == target


def released(source: int) -> tuple[int, int]:
    """Lengths of text and target, after the authors' `random_spans_helper`."""

    def made(text: int) -> tuple[int, int]:
        noise = round(text * 0.15)
        spans = round(noise / 3.0)
        return text - noise + spans + 1, noise + spans + 1

    text = source
    while made(text + 1)[0] <= source:
        text += 1
    return text, made(text)[1]


@given(st.integers(0, 400), st.integers(0, 10**6), st.floats(0.05, 0.9), st.floats(1, 9))
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_and_lengths_are_foreseen(
    length: int, row: int, share: float, mean: float
) -> None:
    spans = Spans(tuple(range(2000, 1000, -1)), START, END, share, mean)
    ids = [3 + n for n in range(length)]
    found = corrupted(ids, spans, row=row)
    assert restored(found, spans) == ids
    assert (len(found.memory), found.trained) == spans.lengths(length)
    assert found.memory[-1] == found.labels[-1] == END
    assert found.ids == (START, *found.labels[:-1]) and found.at == tuple(range(len(found.ids)))
    used = [id for id in found.memory if id in spans.sentinels]
    assert used == list(spans.sentinels[: len(used)]), "in order"
    assert [id for id in found.labels if id in spans.sentinels] == used
    for one, other in zip(found.memory, found.memory[1:], strict=False):
        assert not (one in used and other in used), "spans do not touch"
    if length > 1:
        assert found.memory[0] not in used, "what is left comes first"


def test_every_cut_is_as_likely() -> None:
    """7 items in 3 runs can be cut in 15 ways; 15,000 draws within five standard deviations."""
    drawn = numbers(0, 0, 0)
    found = Counter(tuple(parts(7, 3, drawn)) for _ in range(15_000))
    assert len(found) == 15 and all(sum(cut) == 7 and min(cut) > 0 for cut in found)
    assert max(abs(count - 1000) for count in found.values()) < 5 * math.sqrt(1000)
    assert parts(5, 1, drawn) == [5] and parts(3, 3, drawn) == [1, 1, 1]


def test_a_token_is_taken_out_as_often_as_said() -> None:
    """15% in spans of 3 on average; no place is spared but the first, which is never taken, and
    those near it, which are seldom."""
    rows = [corrupted(list(range(1000, 1200)), row=n) for n in range(400)]
    taken = np.array([[id not in row.memory for id in range(1000, 1200)] for row in rows])
    assert (taken.sum(1) == 30).all()
    assert taken[:, 0].sum() == 0 and (taken[:, 20:].mean(0) > 0.05).all()
    lengths = Counter(len(run) for row in rows for run in _runs(row))
    assert sum(n * count for n, count in lengths.items()) / lengths.total() == 3.0
    assert {1, 2, 3, 4, 5, 6} <= set(lengths)


def _runs(row: Example) -> list[list[int]]:
    found: list[list[int]] = []
    for id in row.labels[:-1]:
        if id in SPANS.sentinels:
            found.append([])
        else:
            found[-1].append(id)
    return found


def test_what_is_hidden_follows_from_seed_epoch_and_row_alone() -> None:
    ids = list(range(5, 105))
    assert corrupted(ids, seed=3, row=7) == corrupted(ids, seed=3, row=7)
    others = [corrupted(ids), corrupted(ids, seed=1), corrupted(ids, row=1)]
    others.append(span_corruption.example(ids, SPANS, seed=0, epoch=1, row=0))
    assert len({found.memory for found in others}) == 4
    pinned = corrupted(list(range(100, 150)), row=5)
    assert pinned.labels == PINNED, "on every machine and in every version"


PINNED = (299, 131, 298, 133, 134, 297, 145, 146, 147, 148, 149, 1)


def test_settings_come_from_the_tokenizer_or_are_refused() -> None:
    tokenizer = learnt("unigram").tokenizer
    found = Spans.of(tokenizer, 0)
    assert found.sentinels == tuple(sentinel_ids(tokenizer)) and len(found.sentinels) == SENTINELS
    assert found.end == tokenizer.eos_id
    for without in (pair_tokenizer(), byte_tokenizer()):
        with pytest.raises(ConfigError) as caught:
            Spans.of(without, 0)
        assert caught.value.field == "sentinels"
    for field, value in (("share", 0.0), ("share", 1.0), ("mean", 0.5)):
        with pytest.raises(ConfigError) as caught:
            Spans.of(tokenizer, 0, **{field: value})
        assert caught.value.field == field
    with pytest.raises(ConfigError, match="too few sentinels"):
        corrupted(list(range(200)), found)


EIGHT = [corrupted(ids_of(text), row=number) for number, text in enumerate(TEXTS)]
MODEL = "flan-t5-tiny"


def test_a_fresh_model_knows_nothing() -> None:
    """Scores of a head of its own are h w with |h|^2 = C and deviation C^-1/2: normal with
    variance 1, so that log sum exp is ln V + 1/2 and the label's score 0 in the mean."""
    check_start(MODEL, EIGHT, span_corruption.loss, math.log(VOCABULARY) + 0.5, seeds=8)


def test_eight_rows_are_learned_by_heart() -> None:
    model = check_overfits(MODEL, EIGHT, span_corruption.loss).eval()
    made: list[list[int]] = [[] for _ in EIGHT]
    jobs = [Job(row.memory, 20, frozenset({END})) for row in EIGHT]
    for event in Engine(model).run(jobs):
        made[event.index] += [] if event.token is None else [event.token]
    assert made == [list(row.labels[:-1]) for row in EIGHT]


def test_eight_micro_batches_equal_one() -> None:
    check_accumulation(MODEL, EIGHT, span_corruption.loss)
