"""The official client is the witness: chat, completions, streams, models and errors."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tutelage.backends.scripted import ScriptedLM
from tutelage.lm import Message

from .serving import SteppedLM, serving

QUESTION = {"role": "user", "content": "What is the capital?"}


@pytest.fixture
def client(scripted: ScriptedLM) -> Iterator[openai.OpenAI]:
    with (
        serving({"model": scripted, "raw": SteppedLM(chat=False)}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="model", messages=[QUESTION], seed=1, n=1)
    assert answer.choices[0].message.content == "Paris it is, mon ami."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 4
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == 9
    assert (answer.model, answer.object) == ("model", "chat.completion")


def test_an_answer_can_be_sent_back_as_a_turn(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="model", messages=[QUESTION])
    turns = [QUESTION, first.choices[0].message, {"role": "user", "content": "capital?"}]
    second = client.chat.completions.create(model="model", messages=turns)
    assert second.usage.prompt_tokens == 4 + 5 + 1


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": [{"type": "text", "text": "accents"}]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == "żółć 🦊 日本"
    assert len([text for text in texts if text]) == 3
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 3
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_without_usage_carries_none(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="model", messages=[QUESTION], stream=True)
    chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="model", prompt="capital", max_tokens=2, stop=["x"])
    assert answer.choices[0].text == "Paris it"
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "text_completion"


def test_several_prompts_keep_their_order(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="model", prompt=["capital", "silence", "accents"])
    assert [choice.text for choice in answer.choices] == [
        "Paris it is, mon ami.",
        "",
        "żółć 🦊 日本",
    ]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    stream = client.completions.create(model="model", prompt=["capital", "accents"], stream=True)
    texts = ["", ""]
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == ["Paris it is, mon ami.", "żółć 🦊 日本"]


def test_stop_texts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="model", messages=[QUESTION], stop=" mon")
    assert answer.choices[0].message.content == "Paris it is,"
    assert answer.choices[0].finish_reason == "stop"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["model", "raw"]
    assert client.models.retrieve("raw").id == "raw"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("../etc/passwd")


def test_an_unknown_model_is_named_with_a_suggestion(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="did you mean 'model'") as caught:
        client.chat.completions.create(model="modle", messages=[QUESTION])
    assert caught.value.code == "model_not_found" and caught.value.param == "model"


def test_a_model_without_template_is_given_messages_too() -> None:
    raw = SteppedLM(chat=False)
    raw.allowed.release()
    with (
        serving({"raw": raw}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        client.chat.completions.create(model="raw", messages=[QUESTION], max_tokens=1)
    assert raw.seen[0].prompt == (Message("user", QUESTION["content"]),)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("length", "new"), [(101, None), (100, None), (90, 11)])
def test_beyond_the_context_is_refused(
    client: openai.OpenAI, stream: bool, length: int, new: int | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="raw", prompt="x" * length, max_tokens=new, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", 65),
        ("temperature", -1),
        ("temperature", 2.5),
        ("top_p", 0),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 10**9),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("seed", 2**64),
        ("stop", ""),
        ("stop", ["a"] * 17),
        ("logprobs", True),
        ("presence_penalty", 1),
        ("logit_bias", {"5": 1}),
        ("tools", [{"type": "function", "function": {"name": "a name"}}]),
        ("response_format", {"type": "json_object"}),
        ("extra_body", {"temprature": 1}),
        ("extra_body", {"top_k": 0}),
        ("extra_body", {"min_tokens": 3}),
        ("extra_body", {"min_p": 2}),
        ("extra_body", {"typical_p": 0}),
        ("extra_body", {"repetition_penalty": 0}),
        ("extra_body", {"no_repeat_ngram_size": -1}),
        ("extra_body", {"no_repeat_ngram_size": 2}),
        ("extra_body", {"use_beam_search": True, "beam_width": 0}),
        ("extra_body", {"best_of": 70}),
        ("extra_body", {"penalty_alpha": 1.5}),
        ("extra_body", {"temperature": 1, "penalty_alpha": 0.5}),
        ("extra_body", {"guided_choice": []}),
        ("extra_body", {"guided_json": "{"}),
        ("presence_penalty", 3),
        ("frequency_penalty", float("1e300")),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"5": 101}),
        ("top_logprobs", 3),
        ("tool_choice", "required"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, field: str, value: object
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="model", messages=[QUESTION], **{field: value})
    name = list(value)[-1] if field == "extra_body" else field
    assert caught.value.param.split(".")[0] == name
    if name == "temprature":
        assert "did you mean 'temperature'" in str(caught.value)


def test_what_cannot_change_the_answer_is_accepted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="model",
        messages=[{"role": "developer", "content": "Be brief."}, QUESTION],
        user="me",
        metadata={"a": "b"},
        presence_penalty=0,
        temperature=0,
        top_p=1,
        max_completion_tokens=1,
        extra_body={"top_k": 5},
    )
    assert answer.choices[0].message.content == "Paris"


def test_contradictory_limits_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="contradict"):
        client.chat.completions.create(
            model="model", messages=[QUESTION], max_tokens=1, max_completion_tokens=2
        )


def test_a_failing_model_tells_nothing_of_itself(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.completions.create(model="model", prompt="a secret prompt no rule matches")
    assert caught.value.body["message"] == "the model could not answer"
    assert "secret" not in str(caught.value) and "rule" not in str(caught.value)
