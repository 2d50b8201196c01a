"""Causal language modelling: that it is learned. The loss itself is held against transformers'
(tests/parity/test_packed_loss.py)."""

from __future__ import annotations

import math

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
from tutelage.objectives import clm

END = 1
MODEL = "gpt2-tiny"


def whole(text: str) -> Example:
    """A row of which every token but the first is learnt from those before it."""
    ids = [*ids_of(text), END]
    return Example(tuple(ids[:-1]), tuple(range(len(ids) - 1)), tuple(ids[1:]))


EIGHT = [whole(text) for text in TEXTS]


def test_a_fresh_model_knows_nothing() -> None:
    """Scores h w with |h|^2 = C and deviation 0.02: ln V and half of 0.02^2 C."""
    check_start(MODEL, EIGHT, clm.loss, math.log(VOCABULARY) + 0.5 * 0.02**2 * 64, seeds=1)


def test_eight_rows_are_learned_by_heart_and_said_as_they_were_learned() -> None:
    """Texts that begin alike part where they do, so a row is asked for behind its tenth token."""
    rows = [Example(row.ids, row.at[9:], row.labels[9:]) for row in EIGHT]
    model = check_overfits(MODEL, rows, clm.loss).eval()
    made: list[list[int]] = [[] for _ in EIGHT]
    jobs = [Job(row.ids[:10], 40, frozenset({END})) for row in EIGHT]
    for event in Engine(model).run(jobs):
        made[event.index] += [] if event.token is None else [event.token]
    assert made == [list(row.labels[:-1]) for row in rows]


def test_eight_micro_batches_equal_one() -> None:
    check_accumulation(MODEL, EIGHT, clm.loss)
