"""Settings of decoding through the official client, of a model that really decodes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tutelage.backends.http import HttpLM
from tutelage.backends.local import LocalLM
from tutelage.decoding import Beam
from tutelage.lm import Message, Request, Sampling, complete

from .serving import serving

ASKED: dict[str, Any] = {"model": "model", "messages": [{"role": "user", "content": "Hello"}]}
LETTERS = range(97, 123)
TURN = (Message("user", "Hello"),)


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1, exact=True)


@pytest.fixture(scope="module")
def client(lm: LocalLM) -> Iterator[openai.OpenAI]:
    with (
        serving({"model": lm}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_logprobs_of_a_chat(client: openai.OpenAI, lm: LocalLM) -> None:
    answer = client.chat.completions.create(
        **ASKED, max_tokens=6, logprobs=True, top_logprobs=3, seed=1, temperature=1,
        logit_bias={str(letter): 60 for letter in LETTERS},
    )  # fmt: skip
    sampling = Sampling(1.0, seed=1, logit_bias=tuple((letter, 60.0) for letter in LETTERS))
    (expected,) = complete(lm, [Request(TURN, 6, sampling, logprobs=3)])
    told = answer.choices[0].logprobs.content
    assert [one.bytes for one in told] == [list(one.bytes) for one in expected.logprobs]
    for one, wanted in zip(told, expected.logprobs, strict=True):
        assert one.logprob == pytest.approx(wanted.log_probability)
        assert one.logprob <= one.top_logprobs[0].logprob
        assert [top.logprob for top in one.top_logprobs] == pytest.approx(
            [top.log_probability for top in wanted.top]
        )
        assert [top.token for top in one.top_logprobs] == [top.text for top in wanted.top]
    total = sum(one.logprob for one in told)
    assert lm.score([(TURN, expected.text)])[0].log_probability == pytest.approx(total, abs=1e-3)


def test_a_stream_tells_the_same_logprobs(client: openai.OpenAI) -> None:
    asked = {**ASKED, "max_tokens": 9, "logprobs": True, "seed": 3, "temperature": 1.0}
    whole = client.chat.completions.create(**asked)
    streamed = list(client.chat.completions.create(**asked, stream=True))
    told = [one for c in streamed for x in c.choices if x.logprobs for one in x.logprobs.content]
    assert told == whole.choices[0].logprobs.content
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == (
        whole.choices[0].message.content
    )


def test_logprobs_of_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="model", prompt="ab", max_tokens=5, logprobs=2, logit_bias={"65": 100}
    )
    assert answer.choices[0].text == "AAAAA"
    told = answer.choices[0].logprobs
    assert told.tokens == ["A"] * 5 and told.text_offset == [0, 1, 2, 3, 4]
    for value, top in zip(told.token_logprobs, told.top_logprobs, strict=True):
        assert top["A"] == value and 2 <= len(top) <= 3
        assert math.isfinite(value) and value <= max(top.values())


def test_an_echo_tells_the_prompts_logprobs(client: openai.OpenAI, lm: LocalLM) -> None:
    """What lm-eval and other harnesses score with; our own client of servers does too."""
    context, more = "The café ", "is open."
    found = client.completions.create(
        model="model", prompt=context + more, max_tokens=0, echo=True, logprobs=2
    )
    (choice,) = found.choices
    assert (choice.text, found.usage.completion_tokens) == (context + more, 0)
    told = choice.logprobs
    assert told.token_logprobs[0] is None and told.top_logprobs[0] is None
    assert len(told.tokens) == found.usage.prompt_tokens
    start = told.text_offset.index(len(context))
    (wanted,) = lm.score([(context, more)])
    assert sum(told.token_logprobs[start:]) == pytest.approx(wanted.log_probability, abs=1e-3)
    with_answer = client.completions.create(
        model="model", prompt=["ab", "xyz"], max_tokens=2, echo=True, logprobs=0, n=2, seed=1
    )
    assert [
        c.text[: len(p)]
        for c, p in zip(with_answer.choices, ["ab", "ab", "xyz", "xyz"], strict=True)
    ] == [
        "ab",
        "ab",
        "xyz",
        "xyz",
    ]
    assert all(c.logprobs.token_logprobs[1] for c in with_answer.choices)
    assert len(with_answer.choices[0].logprobs.tokens) <= 4
    server = HttpLM(str(client.base_url).rstrip("/"), "model")
    assert server.capabilities().score
    (found_there,) = server.score([(context, more)])
    assert found_there.log_probability == pytest.approx(wanted.log_probability, abs=1e-3)
    assert (found_there.tokens, found_there.greedy) == (wanted.tokens, wanted.greedy)


def test_several_answers(client: openai.OpenAI) -> None:
    asked = {**ASKED, "max_tokens": 8, "seed": 5}
    whole = client.chat.completions.create(**asked, n=3)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert whole.usage.completion_tokens <= 24
    alone = client.chat.completions.create(**asked, temperature=1)
    assert alone.choices[0].message.content == texts[0]
    assert whole.usage.prompt_tokens == alone.usage.prompt_tokens
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


def test_best_of(client: openai.OpenAI) -> None:
    asked = {"model": "model", "prompt": "xy", "max_tokens": 4, "seed": 9, "logprobs": 0}
    drawn = client.completions.create(**asked, n=6)
    worth = {c.text: sum(c.logprobs.token_logprobs) / len(c.logprobs.tokens) for c in drawn.choices}
    best = client.completions.create(**asked, n=2, best_of=6)
    assert [c.text for c in best.choices] == sorted(worth, key=lambda text: -worth[text])[:2]
    assert best.usage.completion_tokens == drawn.usage.completion_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**asked, n=2, best_of=6, stream=True)
    assert caught.value.param == "best_of"


def test_penalties_and_least_length(client: openai.OpenAI, lm: LocalLM) -> None:
    greedy = client.completions.create(model="model", prompt="q", max_tokens=30).choices[0].text
    other = client.completions.create(
        model="model", prompt="q", max_tokens=30, frequency_penalty=2, presence_penalty=2
    )
    assert len(set(other.choices[0].text)) > len(set(greedy))
    ends = {str(token): 100 for token in lm.checkpoint.tokenizer.eos_ids}
    for least in (0, 4):
        found = client.completions.create(
            model="model", prompt="q", max_tokens=9, logit_bias=ends,
            extra_body={"min_tokens": least},
        )  # fmt: skip
        assert found.usage.completion_tokens == least
        assert found.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"min_tokens": 50}, "min_tokens"),
        ({"use_beam_search": True, "n": 3, "temperature": 1}, "beam_width"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
        ({"length_penalty": 2}, "use_beam_search"),
        ({"penalty_alpha": 0.5, "beam_width": 2}, "use_beam_search"),
        ({"penalty_alpha": 0.5, "use_beam_search": True}, "penalty_alpha"),
        ({"penalty_alpha": 0.5, "best_of": 2}, "best_of"),
        ({"penalty_alpha": 0.5, "n": 2}, "n"),
        ({"use_beam_search": True, "n": 2, "diversity_penalty": 1}, "diversity_penalty"),
        ({"n": 2, "temperature": 0}, "n"),
        ({"guided_regex": "(("}, "guided_regex"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "foo"}},
                }
            },
            "response_format",
        ),
    ],
)
def test_contradictions_are_named(client: openai.OpenAI, extra: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ASKED, max_tokens=9, extra_body=extra)
    assert caught.value.param == param, json.dumps(caught.value.body)


def test_answers_of_a_form(client: openai.OpenAI) -> None:
    pytest.importorskip("llguidance", reason="llguidance comes with the `guided` extra")
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "n": {"type": "boolean"}},
        "required": ["city", "n"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        **ASKED, seed=1, temperature=1, max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema}},
    )  # fmt: skip
    found = json.loads(answer.choices[0].message.content)
    assert found["city"] in ("Paris", "Rome") and isinstance(found["n"], bool)
    for extra in (
        {"guided_choice": ["yes", "no"]},
        {"structured_outputs": {"choice": ["yes", "no"]}},
    ):
        answer = client.chat.completions.create(**ASKED, n=2, extra_body=extra)
        assert {c.message.content for c in answer.choices} <= {"yes", "no"}


def test_beams(client: openai.OpenAI, lm: LocalLM) -> None:
    asked = {"model": "model", "prompt": "ab", "max_tokens": 5, "n": 2}
    extra = {"use_beam_search": True, "beam_width": 3}
    found = client.completions.create(**asked, extra_body=extra)
    (wanted,) = complete(lm, [Request("ab", 5, search=Beam(3, returned=2))])
    texts = [wanted.text, wanted.others[0].text]
    assert [c.text for c in found.choices] == texts
    streamed = ["", ""]
    for chunk in client.completions.create(**asked, extra_body=extra, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == texts
