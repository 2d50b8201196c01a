"""Speculation gives the text of plain decoding, token for token, in fewer steps."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.witness import pair
from tutelage.backends.local import LocalLM
from tutelage.decoding import Penalties, Speculative
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.rows import Rows, first_read
from tutelage.generate.speculate import Draft, Lookup, Speculation, verified
from tutelage.generate.step import FEW_ROWS
from tutelage.lm import Request, Sampling, complete
from tutelage.models.transformer import Transformer

pytestmark = pytest.mark.usefixtures("decoding")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return pair(7, initializer_range=0.1)[1]


@pytest.fixture(scope="module")
def draft() -> Transformer:
    """The model with a little noise: it is often right."""
    noisy = pair(7, initializer_range=0.1)[1]
    torch.manual_seed(1)
    for parameter in noisy.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return noisy


def jobs_of(limit: int = 24) -> list[Job]:
    settings = [
        Sampling(),
        Sampling(penalties=Penalties(repetition=1.3)),
        Sampling(0.3, top_p=0.9, seed=4),
        Sampling(1.0, seed=5),
        Sampling(penalties=Penalties(frequency=0.4, no_repeat_ngram=3)),
    ]
    repeated = [(*prompt, *prompt) for prompt in prompts_of([5, 9, 3, 12, 6])]
    jobs = [Job(p, limit, frozenset({5}), s) for p, s in zip(repeated, settings, strict=True)]
    jobs[1] = replace(jobs[1], max_new_tokens=1)
    jobs[4] = replace(jobs[4], min_new_tokens=9, logprobs=2)
    return jobs


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("slots", [1, 3, 64])
@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_the_text_is_that_of_plain_decoding(
    model: Transformer, draft: Transformer, kind: str, slots: int, exact: bool
) -> None:
    guessing = Speculation(4, draft if kind == "draft" else None)
    plain = answers(Engine(model, slots=slots, exact=exact), jobs_of())
    made = answers(Engine(model, slots=slots, exact=exact, speculation=guessing), jobs_of())
    assert made == plain


def steps(model: Transformer, job: Job, guessing: Speculation | None) -> int:
    """How often the model was read to answer."""
    taken = [0]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("step", "ahead"):
            method = getattr(Rows, name)

            def watched(self: Rows, *given: Any, method: Any = method) -> Any:
                taken[0] += self.model is model
                return method(self, *given)

            patch.setattr(Rows, name, watched)
        list(Engine(model, speculation=guessing).run([job]))
    return taken[0]


def test_right_guesses_save_steps(model: Transformer) -> None:
    job = Job(prompts_of([9])[0], 30, frozenset())
    assert steps(model, job, None) == 29
    same = pair(7, initializer_range=0.1)[1]
    assert steps(model, job, Speculation(4, same)) <= 29 / 4
    said, _ = answers(Engine(model), [job])[0]
    known = Job((*job.prompt, *said, *job.prompt), 30, frozenset())
    assert steps(model, known, Speculation(5)) < 29


def test_logits_read_ahead_are_those_of_single_steps(model: Transformer, decoding: str) -> None:
    """By the kernel to the bit; also of two rows at once, and after guesses taken back."""
    prompts = prompts_of([9, 4])
    tokens = prompts_of([3, 3], seed=8)
    apart, ahead = (Rows.of(model, 2, 40) for _ in range(2))
    with torch.inference_mode():
        for rows in (apart, ahead):
            rows.read([0, 1], [first_read(model, prompt) for prompt in prompts])
        verified(ahead, [0, 1], [(1, 2, 3), (4, 5, 6)])
        found = verified(ahead, [0, 1], tokens)
        assert ahead.cache.lengths.tolist() == [9, 4]
        wanted = torch.stack([apart.step([0, 1], step) for step in zip(*tokens, strict=True)], 1)
    for mine, one in zip(found, wanted, strict=True):
        if decoding == "kernel":
            assert torch.equal(mine, one)
        assert torch.allclose(mine, one, atol=1e-5)
    assert FEW_ROWS >= 2 * 3


def naive(prompt: list[int], made: list[int], count: int) -> list[int]:
    """By search: the latest earlier place of the last three tokens, or else of the last two."""
    whole = prompt + made
    for size in (3, 2):
        for place in range(len(whole) - 1, size - 1, -1):
            if len(whole) >= size and whole[place - size : place] == whole[-size:]:
                return whole[place : place + count]
    return []


def test_lookup_against_a_search() -> None:
    drawn = random.Random(0)
    for _ in range(60):
        prompt = [drawn.randrange(3) for _ in range(drawn.randrange(1, 12))]
        lookup, made = Lookup(prompt), list[int]()
        for _ in range(12):
            made += [drawn.randrange(3) for _ in range(drawn.randrange(1, 3))]
            assert lookup.propose(made, 4) == naive(prompt, made, 4), (prompt, made)


def test_a_drafts_guesses_are_its_greedy_answer(draft: Transformer) -> None:
    """Whatever was guessed and rejected before."""
    (prompt,) = prompts_of([9])
    guesser, drawn, made = Draft(draft, prompt, 40), random.Random(3), list[int]()
    with torch.inference_mode():
        for _ in range(6):
            made.append(drawn.randrange(90))
            guesses = guesser.propose(made, 4)
            job = Job((*prompt, *made), 4, frozenset())
            assert guesses == answers(Engine(draft), [job])[0][0]
            made += guesses[: drawn.randrange(4)]


def test_behind_the_seam() -> None:
    given: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1, "exact": True}
    source = "preset:llama-tiny"
    asked = [Request("ab ab ab ab", 20), Request("abc", 9, Sampling(1.0, seed=3), logprobs=1)]
    plain = complete(LocalLM.open(source, **given), asked)
    for how in (Speculative(), Speculative(source, 3)):
        assert complete(LocalLM.open(source, speculative=how, **given), asked) == plain
    pairs = "preset:t5-tiny"
    plain = complete(LocalLM.open(pairs, **given), asked[:1])
    guessing = LocalLM.open(pairs, speculative=Speculative(), **(given | {"exact": False}))
    assert [one.text for one in complete(guessing, asked[:1])] == [one.text for one in plain]


@pytest.mark.parametrize("draft", ["preset:t5-tiny", "preset:bert-tiny"])
def test_a_draft_of_another_vocabulary_is_refused(draft: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LocalLM.open("preset:llama-tiny", device="cpu", speculative=Speculative(draft))
    assert caught.value.field == "draft"


def test_settings_that_cannot_be() -> None:
    for tokens in (0, 17):
        with pytest.raises(ConfigError) as caught:
            Speculative(tokens=tokens)
        assert caught.value.field == "draft_tokens"
