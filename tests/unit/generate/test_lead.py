"""Prompts that are read both ways: cached decoding and scores equal full passes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.witness import pair
from tutelage.data.pack import Example, pack
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.score import score
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer

pytestmark = pytest.mark.usefixtures("decoding")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return pair(9, initializer_range=0.3)[1]


def full(model: Transformer, prompt: Sequence[int], tokens: int, lead: int) -> list[int]:
    """Token after token from passes over everything, the first `lead` tokens read both ways."""
    ids = list(prompt)
    for _ in range(tokens):
        with torch.inference_mode():
            hidden = forward(model, pack([Example.read(ids, lead=lead)]))
        ids.append(int(model.logits(hidden)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("prefix", [0, 11])
def test_answers_equal_full_passes(model: Transformer, prefix: int) -> None:
    """What all prompts begin with is not shared: its tokens see those behind it."""
    prompts = prompts_of([1, 14, 6, 25, 3], prefix)
    both = [full(model, prompt, 9, len(prompt)) for prompt in prompts]
    causal = [full(model, prompt, 9, 0) for prompt in prompts]
    assert both != causal
    jobs = [Job(prompt, 9, frozenset(), both=True) for prompt in prompts]
    for engine in (Engine(model), Engine(model, slots=2), Engine(model, exact=True)):
        assert [tokens for tokens, _ in answers(engine, jobs)] == both
    mixed = [Job(prompt, 9, frozenset(), both=n % 2 == 0) for n, prompt in enumerate(prompts)]
    expected = [(both if n % 2 == 0 else causal)[n] for n in range(len(prompts))]
    assert [tokens for tokens, _ in answers(Engine(model), mixed)] == expected


def test_the_lead_sees_itself_and_nothing_behind_it(model: Transformer) -> None:
    """Changing a token of the prompt changes what every token of it becomes; changing one of the
    answer changes none of the prompt's."""
    ids = prompts_of([12])[0]
    wanted = tuple(range(12))

    def vectors(row: Sequence[int]) -> torch.Tensor:
        with torch.inference_mode():
            return forward(model, pack([Example(tuple(row), wanted, wanted, lead=7)]))

    base = vectors(ids)
    prompt = vectors((*ids[:6], ids[6] + 1, *ids[7:]))
    assert ((prompt - base).abs().amax(-1) > 1e-4).all()
    answer = vectors((*ids[:9], ids[9] + 1, *ids[10:]))
    assert torch.equal(answer[:7], base[:7])
    assert ((answer - base).abs().amax(-1)[9:] > 1e-4).all()


@pytest.mark.parametrize("exact", [False, True])
def test_scores_equal_full_passes(model: Transformer, exact: bool) -> None:
    prompts, texts = prompts_of([1, 14, 6], 10), prompts_of([4, 2, 9], seed=5)
    examples = [Example.answer(p, t, lead=len(p)) for p, t in zip(prompts, texts, strict=True)]
    for example, found in zip(examples, score(model, examples, exact), strict=True):
        for place, label in enumerate(example.labels):
            read = Example.read(example.ids[: example.at[place] + 1], lead=example.lead)
            with torch.inference_mode():
                logits = model.logits(forward(model, pack([read])))[-1]
            expected = torch.log_softmax(logits, -1)[label]
            assert found.log_probabilities[place] == pytest.approx(float(expected), abs=1e-4)
