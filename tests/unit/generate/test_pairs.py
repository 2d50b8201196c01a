"""The engine's promises where an encoder reads the prompt: company, ends, cancellation, memory."""

from __future__ import annotations

import random

import pytest
import torch

from tests.parity.architecture import rows_of
from tests.parity.pairs import greedy, our_logits
from tests.parity.test_generation import answers
from tests.parity.test_t5 import t5_twins
from tutelage.data.pack import Example
from tutelage.generate.batch import Batch
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.places import Row
from tutelage.generate.rows import first_read
from tutelage.generate.score import score
from tutelage.lm import Sampling
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.nn.cache import Cache


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    return t5_twins("v1.1", seed=11)[1]


def jobs_of(count: int, limit: int = 14, temperature: float = 0.0) -> list[Job]:
    lengths = [random.Random(3).randrange(1, 30) for _ in range(count)]
    drawn = [Sampling(temperature, seed=i) for i in range(count)]
    return [
        Job(tuple(row), limit, frozenset({5}), sampling)
        for row, sampling in zip(rows_of(lengths, seed=6), drawn, strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("slots", [1, 3, 64])
def test_answers_do_not_depend_on_company(
    model: EncoderDecoder, slots: int, temperature: float
) -> None:
    jobs = jobs_of(12, temperature=temperature)
    alone = [answers(Engine(model), [job])[0] for job in jobs]
    assert {end for _, end in alone} == {"stop", "length"}
    assert answers(Engine(model, slots=slots), jobs) == alone
    assert answers(Engine(model, exact=True), jobs) == alone


def test_the_same_beginning_of_sources_is_not_shared(model: EncoderDecoder) -> None:
    """Each token of a source sees all of it, so that equal beginnings are not read alike."""
    start = rows_of([20], seed=1)[0]
    sources = [(*start, *row) for row in rows_of([3, 9, 5], seed=2)]
    made = answers(Engine(model), [Job(source, 10, frozenset()) for source in sources])
    assert [tokens for tokens, _ in made] == [greedy(model, source, 10) for source in sources]


def test_long_sources_come_late_and_slots_stand_empty(model: EncoderDecoder) -> None:
    """Room for sources grows with the longest; jobs that end early leave slots that are decoded on
    with the others until the batch is made smaller."""
    sources = rows_of([2, 2, 3, 40, 41], seed=7)
    limits = [1, 12, 2, 9, 12]
    jobs = [Job(tuple(s), n, frozenset()) for s, n in zip(sources, limits, strict=True)]
    expected = [(greedy(model, s, n), "length") for s, n in zip(sources, limits, strict=True)]
    for slots in (2, 3, 5):
        assert answers(Engine(model, slots=slots), jobs) == expected


def test_a_stopped_job_gives_its_slot_to_another(model: EncoderDecoder) -> None:
    jobs = [Job(tuple(row), 12, frozenset()) for row in rows_of([4, 5, 6, 30], seed=8)]
    stopped: set[int] = set()
    made: dict[int, list[int]] = {n: [] for n in range(4)}
    ends = {}
    for event in Engine(model, slots=2).run(jobs, stopped):
        if event.token is not None:
            made[event.index].append(event.token)
        if event.finish is not None:
            ends[event.index] = event.finish
        if event.index == 0 and len(made[0]) == 3:
            stopped.update({0, 2})
    assert ends == {0: "cancelled", 1: "length", 2: "cancelled", 3: "length"}
    for n in (1, 3):
        assert made[n] == greedy(model, jobs[n].prompt, 12)


def test_what_sources_take_is_counted(
    model: EncoderDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer rows are decoded together where their encoder's keys and values would not fit."""
    jobs = [Job(tuple(row), 20, frozenset()) for row in rows_of([50] * 6, seed=9)]
    each = Cache.bytes_per_slot(3, 21, (4, 8), 4, source=50)
    held: list[int] = []
    plain = Batch._decode

    def watched(batch: Batch, ready: list[Row]):  # type: ignore[no-untyped-def]
        cache = batch.cache
        kept = [x for pair in cache.memory.values() for x in pair]
        held.append(sum(x.nbytes for x in (cache.keys, cache.values, *kept)))
        return plain(batch, ready)

    monkeypatch.setattr(Batch, "_decode", watched)
    answers(Engine(model, cache_bytes=3 * each + 1), jobs)
    assert held and max(held) == 3 * each


@pytest.mark.parametrize("exact", [False, True])
def test_scores_equal_full_passes(model: EncoderDecoder, exact: bool) -> None:
    """The decoder is given the first tokens of some targets, which are not scored."""
    sources, targets = rows_of((7, 1, 40, 12), seed=1), rows_of((5, 19, 2, 30), seed=2)
    given = (0, 3, 1, 0)
    examples = [
        Example.pair(s, t, model.start, given=n)
        for s, t, n in zip(sources, targets, given, strict=True)
    ]
    with torch.inference_mode():
        read = [(model.start, *target[:-1]) for target in targets]
        logits = our_logits(model, sources, read)
    for found, scores, target, n in zip(
        score(model, examples, exact), logits, targets, given, strict=True
    ):
        wanted = torch.tensor(target)
        values = torch.log_softmax(scores, -1).gather(1, wanted[:, None])[:, 0]
        assert found.log_probabilities == pytest.approx(values[n:].tolist(), abs=1e-4)
        assert list(found.greedy) == (scores.argmax(-1) == wanted)[n:].tolist()


def test_what_is_read_first(model: EncoderDecoder) -> None:
    job = jobs_of(1)[0]
    assert first_read(model, job.prompt) == Example.read((model.start,), memory=job.prompt)
