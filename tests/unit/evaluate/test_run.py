from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tests.unit.evaluate.fakes import WordLM
from tutelage import store
from tutelage.errors import DamagedError, RequestError, UnknownName, WorkError
from tutelage.evaluate.run import Evaluation, Item, evaluate
from tutelage.evaluate.statistics import measured
from tutelage.lm import Event, Message, Prompt, Request, Sampling
from tutelage.score import METRICS

ITEMS = [
    Item("one", "say a b c", "say a b c", "s1"),
    Item("two", (Message("system", "be brief"), Message("user", "x y")), "x y", "s1"),
    Item("three", "say d", "something else", None),
]


def run(lm: WordLM, items: list[Item] = ITEMS, **options: object) -> Evaluation:
    return evaluate(lm, items, ["rougeL", "bleu"], **{"max_new_tokens": 8} | options)


def test_answers_come_back_to_their_items() -> None:
    found = run(WordLM(lambda prompt: f" {prompt}\n"))
    assert [answer.id for answer in found.answers] == ["one", "two", "three"]
    assert [answer.text.split() for answer in found.answers] == [
        ["say", "a", "b", "c"], ["be", "brief", "x", "y"], ["say", "d"]
    ]  # fmt: skip
    assert found.prompt_tokens_mean == pytest.approx((4 + 4 + 2) / 3)
    assert found.answer_tokens_mean == pytest.approx((4 + 4 + 2) / 3)
    assert found.valid and found.extraction_rate == 1 and found.truncated == found.refused == 0


def test_values_are_those_of_the_stripped_answers() -> None:
    found = run(WordLM(lambda prompt: f" {prompt}\n"))
    texts = ["say a b c", "be brief\nx y", "say d"]
    references = [item.reference for item in ITEMS]
    for name in ("rougeL", "bleu"):
        metric = METRICS.get(name)
        expected = metric.statistics(references, texts)
        assert np.array_equal(found.statistics[name], expected)
        assert found.measured[name] == measured(expected, metric.aggregate)
    exact = evaluate(WordLM(lambda p: f" {p}\n"), ITEMS, ["exact_match"], max_new_tokens=8)
    assert exact.measured["exact_match"]["value"] == pytest.approx(1 / 3)


def test_requests_carry_what_was_asked_for() -> None:
    lm = WordLM()
    run(lm, stop=("\n",), sampling=Sampling(temperature=0.5, seed=3))
    warming, *asked = lm.asked
    assert warming.prompt == ITEMS[0].prompt and warming.max_new_tokens < 8
    assert [request.prompt for request in asked] == [item.prompt for item in ITEMS]
    assert {r.max_new_tokens for r in asked} == {8}
    assert {r.stop for r in lm.asked} == {("\n",)}
    assert {r.sampling for r in lm.asked} == {Sampling(temperature=0.5, seed=3)}


def test_the_seconds_are_those_of_answering_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of all sets things up; counting tokens is none of the model's answers."""
    now = [0.0]

    class Slow(WordLM):
        def generate(
            self, requests: Sequence[Request], cancelled: object = None
        ) -> Iterator[Event]:
            now[0] += len(requests) if self.asked else 100.0
            yield from super().generate(requests)

        def count_tokens(self, prompt: Prompt) -> int:
            now[0] += 0.0 if self.asked else 1000.0
            return super().count_tokens(prompt)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert run(Slow(context=100)).seconds == len(ITEMS)
    assert now[0] == len(ITEMS) * (1 + 1000) + 100


def test_a_prompt_that_does_not_fit_is_refused_and_counted() -> None:
    lm = WordLM(context=11)  # 3 prompt tokens and 8 new ones fit, 4 and 8 do not
    found = run(lm)
    assert [answer.finish_reason for answer in found.answers] == ["refused", "refused", "stop"]
    assert {request.prompt for request in lm.asked} == {"say d"}
    assert found.refused == 2 and found.truncated == 0 and not found.valid
    assert found.extraction_rate == pytest.approx(1 / 3)
    assert found.prompt_tokens_mean == 2
    assert found.measured["rougeL"]["n"] == 3 and found.statistics["rougeL"][0, 0] == 0


def test_nothing_is_asked_where_nothing_fits() -> None:
    lm = WordLM(context=8)
    found = run(lm)
    assert lm.asked == [] and found.refused == 3 and found.answer_tokens_mean is None


def test_answers_cut_off_and_blank_answers_are_counted() -> None:
    found = run(WordLM(lambda prompt: "one two three" if "a b c" in prompt else " \n"))
    assert found.cut_off == 0 and found.extraction_rate == pytest.approx(1 / 3)
    found = run(WordLM(), max_new_tokens=3)
    assert found.cut_off == 2
    assert not run(WordLM(lambda prompt: "")).valid


def test_json_is_lossless() -> None:
    found = run(WordLM(lambda prompt: f" {prompt} 🙂\n"))
    text = store.to_json(found.to_json())
    again = Evaluation.from_json(json.loads(text))
    assert again == found and store.to_json(again.to_json()) == text
    assert again.items == found.items and again.answers == found.answers
    assert np.array_equal(again.statistics["bleu"], found.statistics["bleu"])
    assert again.measured == found.measured and again.cut_off == found.cut_off


@pytest.mark.parametrize("key", ["items", "answers", "statistics", "measured", "prompt_sha256"])
def test_a_stored_evaluation_with_a_part_missing_is_damaged(key: str) -> None:
    value = run(WordLM()).to_json()
    del value[key]
    with pytest.raises(DamagedError, match="not a stored evaluation"):
        Evaluation.from_json(value)


def test_the_hash_of_prompts_follows_prompts_and_nothing_else() -> None:
    found = run(WordLM()).prompt_sha256
    other = [Item(item.id, item.prompt, "another reference") for item in ITEMS]
    assert run(WordLM(lambda prompt: "x"), other).prompt_sha256 == found
    changed = [Item("one", "say a b  c", ITEMS[0].reference), *ITEMS[1:]]
    assert run(WordLM(), changed).prompt_sha256 != found
    assert run(WordLM(), ITEMS[::-1]).prompt_sha256 != found


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[str, int, int | None]] = []
    run(WordLM(context=13), progress=lambda *step: seen.append(step))
    assert seen[0][1:] == (0, 3) and seen[-1] == ("answers", 3, 3)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(RequestError, match="one id") as caught:
        run(WordLM(), [ITEMS[0], ITEMS[0]])
    assert caught.value.got == "one"
    with pytest.raises(RequestError, match="nothing to evaluate"):
        run(WordLM(), [])
    lm = WordLM()
    with pytest.raises(UnknownName, match="rouge7"):
        evaluate(lm, ITEMS, ["rouge7"], max_new_tokens=8)
    assert lm.asked == []


def test_a_model_that_leaves_an_item_out_is_caught() -> None:
    class Forgetful(WordLM):
        def generate(self, requests, cancelled=None):  # type: ignore[no-untyped-def]
            yield from super().generate(requests[:-1], cancelled)

    with pytest.raises(WorkError, match="without an answer") as caught:
        run(Forgetful())
    assert caught.value.got == "three"
