"""The engine's promises about company, ends, cancellation and memory."""

from __future__ import annotations

import random

import pytest
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.tuned import attached
from tests.parity.witness import VOCABULARY, checkpoint_of, pair
from tutelage.errors import WorkError
from tutelage.generate.batch import Batch
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job, Token
from tutelage.generate.places import Row
from tutelage.lm import Sampling
from tutelage.models.transformer import Transformer
from tutelage.peft._low_rank import LoraLinear

pytestmark = pytest.mark.usefixtures("decoding")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return pair(7, initializer_range=0.1)[1]


def sampled_jobs(count: int, limit: int = 15, prefix: int = 0) -> list[Job]:
    lengths = [random.Random(3).randrange(1, 25) for _ in range(count)]
    return [
        Job(prompt, limit, frozenset({5}), Sampling(0.8, top_k=40, top_p=0.95, seed=i))
        for i, prompt in enumerate(prompts_of(lengths, prefix))
    ]


@pytest.mark.parametrize("prefix", [0, 12])
@pytest.mark.parametrize("slots", [1, 3, 64])
def test_sampled_answers_do_not_depend_on_company(
    model: Transformer, prefix: int, slots: int
) -> None:
    """Each request draws from its own generator. In float32 the logits of a row differ by rounding
    alone, which moves a draw only at a border; exact mode below allows not even that."""
    jobs = sampled_jobs(12, prefix=prefix)
    alone = [answers(Engine(model), [job])[0] for job in jobs]
    assert answers(Engine(model, slots=slots), jobs) == alone
    shuffled = random.Random(1).sample(range(len(jobs)), len(jobs))
    got = answers(Engine(model, slots=slots), [jobs[i] for i in shuffled])
    assert got == [alone[i] for i in shuffled]


def test_the_seed_decides(model: Transformer) -> None:
    prompt = prompts_of([9])[0]
    sampling = [Sampling(1.0, seed=s) for s in range(6)]
    made = answers(Engine(model), [Job(prompt, 12, frozenset(), s) for s in sampling])
    again = answers(Engine(model), [Job(prompt, 12, frozenset(), s) for s in sampling])
    assert made == again
    assert len({tuple(tokens) for tokens, _ in made}) == 6


def recorded(model: Transformer, jobs: list[Job], exact: bool) -> dict[int, list[torch.Tensor]]:
    """Every row of logits that a token was chosen from, by job."""
    seen: dict[int, list[torch.Tensor]] = {}
    advance = Batch._advance

    def spy(self: Batch, row: Row, logits: torch.Tensor, known: int | None = None) -> Token:
        seen.setdefault(row.index, []).append(logits.clone())
        return advance(self, row, logits, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "_advance", spy)
        list(Engine(model, exact=exact).run(jobs))
    return seen


def test_exact_logits_are_bitwise_the_same_in_company(model: Transformer) -> None:
    jobs = sampled_jobs(5, limit=10, prefix=10)
    together = recorded(model, jobs, exact=True)
    for i, job in enumerate(jobs):
        alone = recorded(model, [job], exact=True)[0]
        assert len(alone) == len(together[i])
        assert all(torch.equal(a, b) for a, b in zip(alone, together[i], strict=True))


def test_one_token_each(model: Transformer) -> None:
    jobs = [Job(prompt, 1, frozenset()) for prompt in prompts_of([4, 9, 1])]
    for tokens, end in answers(Engine(model, slots=2), jobs):
        assert len(tokens) == 1 and end == "length"


def test_an_end_token_at_once_gives_an_empty_answer(model: Transformer) -> None:
    everything = frozenset(range(VOCABULARY))
    jobs = [Job(prompt, 9, everything) for prompt in prompts_of([4, 9, 1, 3, 3])]
    assert answers(Engine(model, slots=2), jobs) == [([], "stop")] * 5


def test_no_jobs(model: Transformer) -> None:
    assert list(Engine(model).run([])) == []


def test_stopped_jobs_end_and_leave_the_others_alone(model: Transformer) -> None:
    jobs = sampled_jobs(9, limit=20)
    expected = answers(Engine(model), jobs)
    engine = Engine(model, slots=3)
    cut = {0: 2, 4: 1, 7: 3}  # job -> stop once it has so many tokens
    tokens: dict[int, list[int]] = {i: [] for i in range(len(jobs))}
    ends: dict[int, str] = {}
    stopped: set[int] = set()
    for event in engine.run(jobs, stopped):
        assert event.index not in ends
        if event.token is not None:
            tokens[event.index].append(event.token)
        if event.finish is not None:
            ends[event.index] = event.finish
        elif len(tokens[event.index]) == cut.get(event.index):
            stopped.add(event.index)
    for i, (whole, end) in enumerate(expected):
        if i in cut and len(whole) > cut[i]:
            assert tokens[i] == whole[: cut[i]]
            assert ends[i] == "cancelled"
        else:
            assert (tokens[i], ends[i]) == (whole, end)
    assert "cancelled" in ends.values()


def test_a_waiting_job_can_be_stopped(model: Transformer) -> None:
    engine = Engine(model, slots=1)
    jobs = [Job(prompt, 3, frozenset()) for prompt in prompts_of([3, 4, 5])]
    ends = {}
    made = {0: 0, 1: 0, 2: 0}
    for event in engine.run(jobs, {1}):
        made[event.index] += event.token is not None
        if event.finish is not None:
            ends[event.index] = event.finish
    assert ends == {0: "length", 1: "cancelled", 2: "length"}
    assert made == {0: 3, 1: 0, 2: 3}


def test_an_abandoned_run_leaves_the_engine_usable(model: Transformer) -> None:
    engine = Engine(model, slots=2)
    jobs = sampled_jobs(6)
    expected = answers(Engine(model), jobs)
    run = engine.run(jobs)
    next(run)
    run.close()
    assert answers(engine, jobs) == expected


def test_two_runs_of_one_engine_do_not_mix(model: Transformer) -> None:
    """Two readers in turn, as two open streams of one model are."""
    engine = Engine(model, slots=2)
    first, second = sampled_jobs(5), sampled_jobs(4, limit=6, prefix=9)
    expected = answers(Engine(model), first), answers(Engine(model), second)
    runs = {0: engine.run(first), 1: engine.run(second)}
    made: dict[int, dict[int, list[int]]] = {0: {}, 1: {}}
    while runs:
        for which in list(runs):
            event = next(runs[which], None)
            if event is None:
                del runs[which]
            elif event.token is not None:
                made[which].setdefault(event.index, []).append(event.token)
    for which in (0, 1):
        wanted = {i: tokens for i, (tokens, _) in enumerate(expected[which]) if tokens}
        assert made[which] == wanted


def test_the_reader_keeps_its_own_gradients(model: Transformer) -> None:
    """Inference mode belongs to the engine's steps, not to what the reader does between them."""
    run = Engine(model).run(sampled_jobs(3))
    next(run)
    assert not torch.is_inference_mode_enabled()
    run.close()
    assert not torch.is_inference_mode_enabled()


def test_a_small_cache_means_fewer_rows_not_other_answers(model: Transformer) -> None:
    jobs = sampled_jobs(8)
    expected = answers(Engine(model), jobs)
    assert answers(Engine(model, cache_bytes=1), jobs) == expected
    assert answers(Engine(model, cache_bytes=200_000), jobs) == expected


def test_prompts_longer_than_one_reading(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = sampled_jobs(10)
    expected = answers(Engine(model), jobs)
    monkeypatch.setattr("tutelage.generate.batch.READ_TOKENS", 10)
    assert answers(Engine(model), jobs) == expected


def test_an_adapter_attached_after_the_engine_was_made_answers() -> None:
    """The kernel holds pointers into the weights; they must be those the model has now."""
    theirs, tuned = pair(11, initializer_range=0.1)
    engine = Engine(tuned)
    job = Job(prompts_of([9])[0], 12, frozenset())
    before = answers(engine, [job])
    torch.manual_seed(0)
    options = {"rank": 4, "alpha": 64.0, "roles": ("attn.v", "mlp.down")}
    attached("lora", tuned, checkpoint_of(theirs), **options)
    for module in tuned.modules():
        if isinstance(module, LoraLinear):
            module.lora_b.data.normal_()
            module.requires_grad_(False)
    after = answers(engine, [job])
    assert after == answers(Engine(tuned), [job])
    assert after != before


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, top_p=0.9, seed=1)])
def test_scores_that_are_not_numbers_are_said(sampling: Sampling) -> None:
    """A model whose weights overflowed would else answer with whatever token comes first."""
    broken = pair(7, initializer_range=0.1)[1]
    with torch.no_grad():
        broken.norm.weight[0] = torch.nan
    with pytest.raises(WorkError, match="not a number"):
        answers(Engine(broken), [Job(prompts_of([9])[0], 5, frozenset(), sampling)])
