"""What lm-eval asks, answered through the seam."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.evaluate.fakes import WordLM
from tutelage.errors import RequestError
from tutelage.evaluate.harness import Answering
from tutelage.lm import Prompt, Score


class Noted(WordLM):
    """Remembers the pairs it scored."""

    def score(self, pairs: Any) -> list[Score]:
        self.pairs: list[tuple[Prompt, str]] = list(pairs)
        return super().score(pairs)


def asked(*args: Any) -> SimpleNamespace:
    return SimpleNamespace(args=args)


def test_continuations_get_the_contexts_last_spaces_and_empty_contexts_a_prefix() -> None:
    lm = Noted(probabilities={"b": 0.25})
    found = Answering(lm, "<s>").loglikelihood(
        [asked("a ", "b"), asked("", "b c"), asked("a", " b")]
    )
    assert lm.pairs == [("a", " b"), ("<s>", "b c"), ("a", " b")]
    assert [round(value, 4) for value, _ in found] == [-1.3863, -2.0794, -1.3863]


def test_whole_texts_stand_behind_the_prefix_and_are_not_cut() -> None:
    lm = Noted(context=4)
    assert len(Answering(lm, "<s>").loglikelihood_rolling([asked(" x y z")])) == 1
    assert lm.pairs == [("<s>", " x y z")]
    with pytest.raises(RequestError) as raised:
        Answering(lm, "<s>").loglikelihood_rolling([asked(" a"), asked(" v w x y z")])
    assert raised.value.field == "text 1"


def test_answers_take_lm_evals_settings() -> None:
    lm = WordLM(lambda prompt: "one two three four")
    settings = [
        {"until": ["\n", ""], "max_gen_toks": 2},
        {"until": "Q:", "do_sample": True, "temperature": 0.5},
        {"do_sample": False, "temperature": 0.9},
    ]
    found = Answering(lm, "").generate_until([asked("say", one) for one in settings])
    assert found == ["one two", "one two three four", "one two three four"]
    first, second, third = lm.asked
    assert (first.stop, first.max_new_tokens) == (("\n",), 2)
    assert (second.stop, second.sampling.temperature) == (("Q:",), 0.5)
    assert (third.sampling.temperature, third.max_new_tokens) == (0.0, 256)
