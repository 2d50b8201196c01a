"""Continuations of one prompt are read behind it together, and score as they do alone."""

from __future__ import annotations

import pytest

from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example
from tutelage.generate import score as scoring
from tutelage.generate.score import score

LONG, OTHER = list(range(3, 40)), [5, 1, 8]
PAIRS = [
    (LONG, [4]), (LONG, [7, 9]), (OTHER, [2]), (LONG, [4]), (OTHER, [6, 6]), (LONG, [11, 2, 3]),
    (LONG[:-1], [50]),
]  # fmt: skip
EXAMPLES = [Example.answer(prompt, answer) for prompt, answer in PAIRS]


@pytest.mark.parametrize("exact", [False, True])
def test_values_are_those_of_each_alone(exact: bool) -> None:
    model = build(checkpoint_of(their_llama()), "fp32", "cpu")
    together = score(model, EXAMPLES, exact)
    for one, example in zip(together, EXAMPLES, strict=True):
        (alone,) = score(model, [example], exact=True)
        assert one.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-5)
        assert one.greedy == alone.greedy


def test_a_long_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(checkpoint_of(their_llama()), "fp32", "cpu")
    read: list[int] = []
    packed = scoring.pack

    def counted(examples: list[Example]) -> object:
        plan = packed(examples)
        read.append(len(plan.ids))
        return plan

    monkeypatch.setattr(scoring, "pack", counted)
    score(model, EXAMPLES)
    whole = sum(example.inputs for example in EXAMPLES)
    assert sum(read) < len(LONG) + 30 + len(LONG) < whole


SHOTS = [3 + n % 90 for n in range(150)]
QUESTIONS = [[7, 9, n, 4, n + 1] for n in range(12)]
LETTERS = [
    Example.answer([*SHOTS, *question], [letter])
    for question in QUESTIONS for letter in (11, 12, 13, 14)
]  # fmt: skip
WORDS = [
    Example.answer([*SHOTS, *question], [20, question[2]]) for question in QUESTIONS[:3]
]  # fmt: skip


def test_questions_behind_the_same_examples_score_as_alone() -> None:
    model = build(checkpoint_of(their_llama()), "fp32", "cpu")
    mixed = [*LETTERS[:9], *EXAMPLES, *WORDS, *LETTERS[9:]]
    for one, example in zip(score(model, mixed), mixed, strict=True):
        (alone,) = score(model, [example], exact=True)
        assert one.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-5)
        assert one.greedy == alone.greedy


def test_solved_examples_and_letters_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(checkpoint_of(their_llama()), "fp32", "cpu")
    read: list[int] = []
    packed = scoring.pack

    def counted(examples: list[Example]) -> object:
        plan = packed(examples)
        read.append(len(plan.ids))
        return plan

    monkeypatch.setattr(scoring, "pack", counted)
    score(model, LETTERS)
    once = len(SHOTS) + sum(map(len, QUESTIONS))
    assert sum(read) <= once < sum(example.inputs for example in LETTERS) / 30
