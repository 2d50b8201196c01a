"""Greedy answers and scores of the engine equal transformers' on the same weights, in float32."""

from __future__ import annotations

import random

import pytest
import torch
import transformers

from tests.parity.witness import VOCABULARY, pair
from tutelage.data.pack import Example
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.score import score
from tutelage.models.transformer import Transformer

VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "one key head": {"num_key_value_heads": 1},
    "yarn": {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
            "rope_theta": 1e4,
        }
    },
}


def prompts_of(lengths: list[int], prefix: int = 0, seed: int = 0) -> list[tuple[int, ...]]:
    """Random prompts that begin with `prefix` common tokens."""
    drawn = random.Random(seed)
    start = [drawn.randrange(VOCABULARY) for _ in range(prefix)]
    return [tuple(start + [drawn.randrange(VOCABULARY) for _ in range(n)]) for n in lengths]


def answers(engine: Engine, jobs: list[Job]) -> list[tuple[list[int], str]]:
    """Tokens and finish reason of every job, each of which must end exactly once."""
    tokens: list[list[int]] = [[] for _ in jobs]
    ends: list[str | None] = [None] * len(jobs)
    for event in engine.run(jobs):
        assert ends[event.index] is None, "nothing comes after the end"
        if event.token is not None:
            tokens[event.index].append(event.token)
        ends[event.index] = event.finish
    assert None not in ends
    return [(made, str(end)) for made, end in zip(tokens, ends, strict=True)]


def their_answer(
    theirs: transformers.PreTrainedModel, prompt: tuple[int, ...], limit: int, ends: list[int]
) -> tuple[list[int], str]:
    ids = torch.tensor([prompt])
    made = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=limit,
        eos_token_id=ends or None,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    stopped = bool(made) and made[-1] in ends
    return (made[:-1], "stop") if stopped else (made, "length")


def common_end(theirs: transformers.PreTrainedModel, prompts: list[tuple[int, ...]]) -> list[int]:
    """A token that ends some answers in their middle: one that greedy answers really contain."""
    made = [their_answer(theirs, prompt, 12, [])[0] for prompt in (prompts[3], prompts[5])]
    return [made[0][len(made[0]) // 2], made[-1][-1]]


@pytest.mark.usefixtures("decoding")
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("prefix", [0, 11])
def test_greedy_answers_equal_transformers(name: str, prefix: int) -> None:
    theirs, ours = pair(1, **VARIANTS[name])
    prompts = prompts_of([1, 2, 3, 30, 5, 8, 13, 21, 4, 1, 17], prefix)
    limits = [12, 1, 7, 12, 2, 12, 3, 12, 12, 5, 1]
    ends = common_end(theirs, prompts)
    expected = [
        their_answer(theirs, prompt, limit, ends)
        for prompt, limit in zip(prompts, limits, strict=True)
    ]
    assert {end for _, end in expected} == {"stop", "length"}
    jobs = [Job(p, n, frozenset(ends)) for p, n in zip(prompts, limits, strict=True)]
    for slots in (64, 3, 1):
        assert answers(Engine(ours, slots=slots), jobs) == expected
    assert answers(Engine(ours, exact=True), jobs) == expected


@pytest.mark.usefixtures("decoding")
def test_greedy_answers_equal_full_passes_over_the_whole_text() -> None:
    """The naive loop: no cache, no packing, one pass over everything for each new token."""
    theirs, ours = pair(2)
    for prompt in prompts_of([1, 9, 33]):
        ids = list(prompt)
        with torch.inference_mode():
            for _ in range(20):
                ids.append(int(theirs(torch.tensor([ids])).logits[0, -1].argmax()))
        assert answers(Engine(ours), [Job(prompt, 20, frozenset())])[0][0] == ids[len(prompt) :]


@pytest.mark.usefixtures("decoding")
def test_the_same_prompt_many_times() -> None:
    """All that the rows share is everything but the last token."""
    theirs, ours = pair(3)
    prompt = prompts_of([20])[0]
    expected = their_answer(theirs, prompt, 10, [])
    jobs = [Job(prompt, 10, frozenset())] * 9
    assert answers(Engine(ours, slots=4), jobs) == [expected] * 9


def log_probabilities(
    theirs: transformers.PreTrainedModel, example: Example
) -> tuple[list[float], list[bool]]:
    ids = torch.tensor([example.ids])
    with torch.inference_mode():
        logits = theirs(ids).logits[0, list(example.at)].double()
    wanted = torch.tensor(example.labels)
    values = torch.log_softmax(logits, -1).gather(1, wanted[:, None])[:, 0]
    return values.tolist(), (logits.argmax(-1) == wanted).tolist()


@pytest.mark.parametrize("prefix", [0, 11])
@pytest.mark.parametrize("exact", [False, True])
def test_scores_equal_transformers(prefix: int, exact: bool) -> None:
    theirs, ours = pair(4)
    prompts = prompts_of([1, 2, 30, 7, 7, 12, 3], prefix)
    endings = prompts_of([1, 20, 4, 9, 1, 2, 13], seed=5)
    examples = [Example.answer(p, e) for p, e in zip(prompts, endings, strict=True)]
    examples.append(Example.answer(prompts[3], greedy_continuation(ours, prompts[3])))
    for example, found in zip(examples, score(ours, examples, exact), strict=True):
        values, greedy = log_probabilities(theirs, example)
        assert found.log_probabilities == pytest.approx(values, abs=1e-4)
        assert list(found.greedy) == greedy
    assert all(score(ours, examples[-1:])[0].greedy)


def greedy_continuation(ours: Transformer, prompt: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(answers(Engine(ours), [Job(prompt, 6, frozenset())])[0][0])


def test_exact_scores_do_not_depend_on_company() -> None:
    _, ours = pair(4)
    examples = [
        Example.answer(p, e)
        for p, e in zip(prompts_of([9, 1, 30], 10), prompts_of([5, 2, 8]), strict=True)
    ]
    together = score(ours, examples, exact=True)
    assert together == [score(ours, [example], exact=True)[0] for example in examples]
    assert score(ours, []) == []
