"""Prefix language modelling: where it cuts, what is trained, and that it is learned."""

from __future__ import annotations

import math
from collections import Counter

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
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.objectives import prefix_lm

END = 1


def cut(ids: list[int], seed: int = 0, epoch: int = 0, row: int = 0) -> Example:
    return prefix_lm.example(ids, seed=seed, epoch=epoch, row=row)


@given(st.lists(st.integers(3, 99), min_size=2, max_size=60), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_the_lead_is_read_and_all_behind_it_trained(ids: list[int], row: int) -> None:
    found = cut(ids, row=row)
    assert 1 <= found.lead < len(ids)
    assert found.ids == tuple(ids[:-1])
    assert found.at == tuple(range(found.lead - 1, len(ids) - 1))
    assert found.labels == tuple(ids[found.lead :])


def test_every_place_is_cut_at_as_often() -> None:
    found = Counter(cut(list(range(3, 14)), row=n).lead for n in range(10_000))
    assert set(found) == set(range(1, 11))
    assert max(abs(count - 1000) for count in found.values()) < 5 * math.sqrt(1000)


def test_the_cut_follows_from_seed_epoch_and_row_alone() -> None:
    ids = list(range(3, 999))
    assert cut(ids, 1, 2, 3) == cut(ids, 1, 2, 3)
    assert (
        len({cut(ids).lead, cut(ids, seed=1).lead, cut(ids, row=1).lead, cut(ids, epoch=1).lead})
        == 4
    )
    assert cut([5]) == Example((5,), (), ()) and cut([]) == Example((), (), ())


EIGHT = [cut([*ids_of(text), END], row=number) for number, text in enumerate(TEXTS)]
MODEL = "gpt2-tiny"


def test_a_fresh_model_knows_nothing() -> None:
    """Scores h w with |h|^2 = C and deviation 0.02: ln V and half of 0.02^2 C."""
    check_start(MODEL, EIGHT, prefix_lm.loss, math.log(VOCABULARY) + 0.5 * 0.02**2 * 64, seeds=1)


def test_eight_rows_are_learned_by_heart_and_said_as_they_were_learned() -> None:
    model = check_overfits(MODEL, EIGHT, prefix_lm.loss).eval()
    made: list[list[int]] = [[] for _ in EIGHT]
    jobs = [Job(row.ids[: row.lead], 40, frozenset({END}), both=True) for row in EIGHT]
    for event in Engine(model).run(jobs):
        made[event.index] += [] if event.token is None else [event.token]
    assert made == [list(row.labels[:-1]) for row in EIGHT]


def test_eight_micro_batches_equal_one() -> None:
    check_accumulation(MODEL, EIGHT, prefix_lm.loss)
