"""The running batch: rows join, share, are read in parts, give their blocks away and leave."""

from __future__ import annotations

import random
import threading

import pytest
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.witness import pair
from tutelage.errors import RequestError
from tutelage.generate import batch as batches
from tutelage.generate import places
from tutelage.generate.batch import Batch
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job, Token
from tutelage.generate.loop import Loop
from tutelage.generate.places import Row
from tutelage.lm import Sampling
from tutelage.models.transformer import Transformer

pytestmark = pytest.mark.usefixtures("decoding")
ROOM = 192


@pytest.fixture(scope="module")
def model() -> Transformer:
    return pair(7, initializer_range=0.1)[1]


def jobs_of(lengths: list[int], limit: int = 12, prefix: int = 0) -> list[Job]:
    return [
        Job(prompt, limit, frozenset({5}), Sampling(0.8, top_p=0.95, seed=i), logprobs=1)
        for i, prompt in enumerate(prompts_of(lengths, prefix))
    ]


Answer = tuple[list[int], list[float], str]


def alone(model: Transformer, job: Job, exact: bool = False) -> Answer:
    return stepped(Batch(model, 1, ROOM, 20, exact=exact), [(0, job)])[0]


def stepped(batch: Batch, joining: list[tuple[int, Job]]) -> dict[int, Answer]:
    """All answers, where the i-th job joins before step joining[i][0]."""
    left, step = list(enumerate(joining)), 0
    made: dict[int, Answer] = {}
    while left or batch.busy:
        for index, (when, job) in list(left):
            if when <= step:
                batch.add(job, index, ())
                left.remove((index, (when, job)))
        for _, token in batch.step():
            tokens, told, end = made.get(token.index, ([], [], ""))
            if token.token is not None:
                tokens.append(token.token)
            if token.logprobs is not None:
                told.append(token.logprobs.chosen)
            made[token.index] = (tokens, told, token.finish or end)
        step += 1
    assert batch.blocks.held == 0 and batch.blocks.free == batch.blocks.count, "no block leaks"
    return made


@pytest.mark.parametrize("exact", [False, True])
def test_answers_are_those_of_rows_alone_whoever_joins_when(
    model: Transformer, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts in parts, with equal beginnings, taken over also from rows that have left; in exact
    the log-probabilities too are bitwise the same."""
    for module in (batches, places):
        monkeypatch.setattr(module, "PART", 32)
    drawn = random.Random(2)
    jobs = jobs_of([drawn.randrange(1, 60) for _ in range(7)], prefix=50) + jobs_of([3, 40, 120])
    jobs += jobs[:2]  # the same prompt and seed again
    expected = [alone(model, job, exact) for job in jobs]
    joining = [(drawn.randrange(0, 30), job) for job in jobs]
    made = stepped(Batch(model, 4, ROOM, 30, exact=exact), joining)
    for index, (tokens, told, end) in enumerate(expected):
        assert made[index][0] == tokens and made[index][2] == end
        if exact:
            assert made[index][1] == told
        assert made[index][1] == pytest.approx(told, abs=1e-4)


def test_a_long_prompt_holds_up_the_others_by_a_part_at_a_time(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (batches, places):
        monkeypatch.setattr(module, "PART", 32)
    batch = Batch(model, 2, ROOM, 20)
    short, long = jobs_of([4, 150], limit=20)
    batch.add(Job(short.prompt, 20, frozenset()), 0, ())
    batch.step()
    batch.add(long, 1, ())
    before = batch.counts.read_tokens
    for part in range(1, 5):
        told = [token.index for _, token in batch.step()]
        assert told == [0]
        assert batch.counts.read_tokens - before == 32 * part


def test_the_same_beginning_is_read_once(model: Transformer) -> None:
    batch = Batch(model, 8, ROOM, 40)
    jobs = jobs_of([5] * 6, prefix=96)
    made = stepped(batch, [(0, job) for job in jobs])
    assert batch.counts.reused_tokens == 5 * 96
    assert batch.counts.read_tokens == 96 + 6 * 5
    later = stepped(batch, [(0, jobs[3])])
    assert later[0][0] == made[3][0]
    assert batch.counts.reused_tokens >= 6 * 96, "from rows that have left"


def test_answers_to_one_prompt_read_it_once(model: Transformer) -> None:
    """All but the last token, whose scores each of them needs; the block that is not full is
    copied before it is written."""
    (prompt,) = prompts_of([45])
    jobs = [Job(prompt, 30, frozenset(), Sampling(1.0, seed=i)) for i in range(5)]
    batch = Batch(model, 8, ROOM, 40)
    made = stepped(batch, [(0, job) for job in jobs])
    assert batch.counts.reused_tokens == 4 * 44 and batch.counts.read_tokens == 45
    for index, job in enumerate(jobs):
        assert made[index][0] == alone(model, job)[0]


def test_a_row_without_blocks_is_read_again_and_loses_nothing(model: Transformer) -> None:
    """Six blocks, as one row takes; three rows that each need four in the end."""
    jobs = [Job(prompt, 90, frozenset(), Sampling(0.8, seed=i)) for i, prompt in
            enumerate(prompts_of([20, 25, 30]))]  # fmt: skip
    batch = Batch(model, 3, ROOM, 6)
    made = stepped(batch, [(0, job) for job in jobs])
    assert batch.counts.preempted > 0
    for index, job in enumerate(jobs):
        assert made[index][0] == alone(model, job)[0]


def test_in_exact_nothing_is_computed_twice(model: Transformer) -> None:
    jobs = [Job(prompt, 90, frozenset()) for prompt in prompts_of([20, 25, 30])]
    batch = Batch(model, 3, ROOM, 6, exact=True)
    stepped(batch, [(0, job) for job in jobs])
    assert batch.counts.preempted == 0


def test_many_threads_share_one_batch(model: Transformer) -> None:
    jobs = jobs_of([3, 9, 30, 4, 12, 7, 50, 2], limit=15)
    expected = [answers(Engine(model), [job])[0] for job in jobs]
    engine = Engine(model, slots=4)
    engine.start(ROOM, ROOM)
    made: dict[int, object] = {}

    def ask(index: int) -> None:
        made[index] = answers(engine, [jobs[index]])[0]

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    assert engine.call(None, lambda: torch.get_num_threads()) >= 1
    for thread in threads:
        thread.join(60)
    assert [made[index] for index in range(len(jobs))] == expected
    assert engine.loop is not None
    engine.loop.close()
    with pytest.raises(RuntimeError):
        list(engine.run(jobs[:1]))


def test_who_leaves_frees_his_rows_at_once(model: Transformer) -> None:
    engine = Engine(model, slots=1)
    engine.start(ROOM, ROOM)
    (prompt,) = prompts_of([5])
    endless = engine.run([Job(prompt, 180, frozenset())])
    next(endless)
    endless.close()
    assert len(answers(engine, [Job(prompt, 3, frozenset())])[0][0]) == 3
    assert engine.loop is not None and engine.loop.batch is not None
    assert engine.loop.batch.blocks.held == 0
    engine.loop.close()


def test_a_step_that_fails_is_told_to_all_and_the_next_are_answered(model: Transformer) -> None:
    class Failing(Batch):
        """Its second step fails."""

        steps = 0

        def step(self) -> list[tuple[Row, Token]]:
            self.steps += 1
            if self.steps == 2:
                raise TypeError("as if out of memory")
            return super().step()

    kinds = iter([Failing, Batch])
    loop = Loop(lambda: next(kinds)(model, 2, ROOM, 12))
    (prompt,) = prompts_of([5])
    run = loop.run([Job(prompt, 180, frozenset())])
    next(run)
    with pytest.raises(TypeError):
        list(run)
    assert len(list(loop.run([Job(prompt, 3, frozenset())]))) == 3
    loop.close()


def test_a_guide_that_gives_up_ends_its_own_answer_alone(model: Transformer) -> None:
    class Costly:
        def allowed(self) -> None:
            return None

        def push(self, token: int) -> None:
            raise RequestError("too costly", field="regex")

    engine = Engine(model, slots=2)
    engine.start(ROOM, ROOM)
    (prompt,) = prompts_of([5])
    other = engine.run([Job(prompt, 9, frozenset())])
    next(other)
    with pytest.raises(RequestError):
        list(engine.run([Job(prompt, 9, frozenset(), guide=Costly)]))
    assert len(list(other)) == 8
    assert engine.loop is not None
    engine.loop.close()
