"""Tools through the official client: told, called freely or by force, answered."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.unit.text import tool_templates as templates
from tutelage.backends.local import LocalLM
from tutelage.backends.scripted import Rule, ScriptedLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.source import parse
from tutelage.lm import Calling, Message, Offer, Prompt, Request, Sampling, complete
from tutelage.serve.schema import ChatRequest
from tutelage.serve.tools import Tool, calls_in, must_call
from tutelage.text.tokenizer import Tokenizer

from .serving import post, serving

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Tells the {name}.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Paris", "Rome"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("weather", "time")
]
SHORT = {
    "type": "object",
    "properties": {"x": {"type": "boolean"}},
    "required": ["x"],
    "additionalProperties": False,
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def script() -> ScriptedLM:
    rules = [
        ("tool_response", "It rains."),
        ("<tools>.*weather.*Rain", f"Let me see. {CALL}{CALL}"),
    ]
    return ScriptedLM([Rule(re.compile(m, re.DOTALL), r) for m, r in [*rules, ("", "Hello.")]])


def asked(said: str, **more: Any) -> Any:
    return {"model": "model", "messages": [{"role": "user", "content": said}], **more}


def test_a_call_and_its_answer() -> None:
    with (
        serving({"model": script()}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        first = client.chat.completions.create(**asked("Rain?", tools=TOOLS)).choices[0]
        assert (first.finish_reason, first.message.content) == ("tool_calls", "Let me see.")
        assert [c.function.name for c in first.message.tool_calls] == ["weather", "weather"]
        assert json.loads(first.message.tool_calls[0].function.arguments) == {"city": "Rome"}
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "rain"}
            for call in first.message.tool_calls
        ]
        turns = [{"role": "user", "content": "Rain?"}, first.message, *results]
        second = client.chat.completions.create(model="model", messages=turns, tools=TOOLS)
        assert second.choices[0].message.content == "It rains."
        assert second.choices[0].finish_reason == "stop"
        for more in ({"tools": TOOLS, "tool_choice": "none"}, {}, {"tools": []}):
            plain = client.chat.completions.create(**asked("Rain?", **more)).choices[0]
            assert (plain.message.content, plain.message.tool_calls) == ("Hello.", None)
        parts = list(client.chat.completions.create(**asked("Rain?", tools=TOOLS, stream=True)))
        calls = [c for part in parts for c in part.choices[0].delta.tool_calls or ()]
        assert [(c.index, c.function.name) for c in calls] == [(0, "weather"), (1, "weather")]
        assert parts[-1].choices[0].finish_reason == "tool_calls"
        text = client.chat.completions.create(**asked("Hi", tools=TOOLS, stream=True))
        assert "".join(part.choices[0].delta.content or "" for part in text) == "Hello."


def test_a_call_that_must_be_made() -> None:
    pytest.importorskip("llguidance", reason="llguidance comes with the `guided` extra")
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    with (
        serving({"model": lm}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        named = {"type": "function", "function": {"name": "a"}}
        short = [{"type": "function", "function": {"name": "a", "parameters": SHORT}}]
        for choice in ("required", named):
            found = client.chat.completions.create(
                **asked("x", tools=short, tool_choice=choice, temperature=1, max_tokens=45)
            ).choices[0]
            assert found.finish_reason == "tool_calls" and found.message.content is None
            (call,) = found.message.tool_calls
            assert call.function.name == "a"
            assert isinstance(json.loads(call.function.arguments)["x"], bool)
        for choice, tools in (("required", None), ({**named, "function": {"name": "no"}}, TOOLS)):
            more = {"tool_choice": choice} | ({"tools": tools} if tools else {})
            with pytest.raises(openai.BadRequestError) as caught:
                client.chat.completions.create(**asked("x", **more))
            assert caught.value.param == "tool_choice"

    tools = [Tool.model_validate(tool) for tool in TOOLS]
    (form,) = must_call(tools, "required")
    drawn = [Request("x", 99, Sampling(1.0, seed=seed), guided=form) for seed in range(8)]
    names = {json.loads(one.text)["name"] for one in complete(lm, drawn)}
    assert names == {"weather", "time"}


def with_template(template: str) -> LocalLM:
    found = open_checkpoint(parse("preset:llama-tiny"), seed=3)
    tokenizer = Tokenizer(found.tokenizer.json, found.tokenizer.special, template=template)
    config = {**found.config, "max_position_embeddings": 8192}
    found = replace(found, config=config, tokenizer=tokenizer)
    return LocalLM(found, build(found, "fp32", "cpu"))


def turns_of_a_call(arguments: str) -> Any:
    """A conversation that called a tool before."""
    function = {"name": "weather", "arguments": arguments}
    return [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "passed"), [('{"city": "Rome"}', {"city": "Rome"}), ("not JSON", "not JSON")]
)
@pytest.mark.parametrize("tools", [TOOLS, None])
def test_a_template_that_takes_tools_is_given_them(arguments: str, passed: Any, tools: Any) -> None:
    """Where it does not, the system message tells of them. Told by what the model reads."""
    called = {"id": "call_1", "type": "function", "function": {"name": "weather"}}
    called["function"] |= {"arguments": passed}  # type: ignore[operator]
    offered = [] if tools is None else [Offer(tools=json.dumps(tools))]
    expected: Prompt = (
        *offered, Message("system", "Be brief."), Message("user", "Rain?"),
        Calling(calls=json.dumps([called])), Message("tool", "rain"),
    )  # fmt: skip
    lm, other = with_template(templates.QWEN), with_template(templates.MISTRAL)
    assert lm.capabilities().tools and not other.capabilities().tools
    with (
        serving({"model": lm, "other": other}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        more = {"messages": turns_of_a_call(arguments), "max_tokens": 2} | (
            {"tools": tools} if tools else {}
        )
        found = client.chat.completions.create(model="model", **more)
        assert found.usage.prompt_tokens == lm.count_tokens(expected)
        none = client.chat.completions.create(model="model", **more, tool_choice="none")
        assert none.usage.prompt_tokens == lm.count_tokens(expected[len(offered) :])
        told = client.chat.completions.create(model="other", **more)
        text = other.renderer.prompt_ids
        asked = ChatRequest.model_validate({"model": "other", **more})
        assert told.usage.prompt_tokens == len(text(asked.prompts()[0]))


def test_deeply_nested_tools_are_refused_or_answered() -> None:
    message = '"model": "model", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]'
    with serving({"model": with_template(templates.QWEN)}) as address:
        for depth in (20, 400, 700, 950, 5000):
            schema = '{"a": ' * depth + "{}" + "}" * depth
            tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {schema}}}}}'
            said = post(
                f"{address}/v1/chat/completions", content=f'{{{message}, "tools": [{tool}]}}',
                headers={"content-type": "application/json"},
            )  # fmt: skip
            assert said.status_code == 200 or (depth > 20 and said.status_code == 400), said.text
        assert post(f"{address}/v1/chat/completions", json=asked("x", max_tokens=1)).is_success


@pytest.mark.parametrize(
    "text",
    [
        "no call",
        "<tool_call>not JSON</tool_call>",
        '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
        "<tool_call>" + "[" * 100_000,
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert calls_in(text, ["f"], bare=False) == (text, [])
    assert calls_in(text, ["f"], bare=True) == (text, [])
