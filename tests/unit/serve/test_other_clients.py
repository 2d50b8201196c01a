"""Clients that others wrote, each if it is installed: LangChain's, and the evaluation harness's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tutelage.backends.local import LocalLM
from tutelage.backends.scripted import ScriptedLM
from tutelage.checkpoints.save import save_folder
from tutelage.lm import Message, Request, complete

from .serving import serving

QUESTION = "What is the capital?"
ANSWER = "Paris it is, mon ami."


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)


@pytest.fixture
def chat(scripted: ScriptedLM) -> Iterator[Any]:
    api = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    with serving({"model": scripted}) as address:
        yield api.ChatOpenAI(model="model", base_url=f"{address}/v1", api_key="none", max_retries=0)


def test_langchain_asks_and_streams(chat: Any) -> None:
    answer = chat.invoke([("system", "Be brief."), ("user", QUESTION)])
    assert answer.content == ANSWER
    assert answer.usage_metadata["output_tokens"] == 5
    pieces = [chunk.content for chunk in chat.stream(QUESTION)]
    assert "".join(pieces) == ANSWER and len([piece for piece in pieces if piece]) > 1
    cut = chat.bind(stop=[" mon"]).invoke(QUESTION)
    assert cut.content == "Paris it is,"
    assert [one.content for one in chat.batch([QUESTION, "silence"])] == [ANSWER, ""]


def test_langchain_calls_tools_and_reads_schemas(lm: LocalLM) -> None:
    """The random model says nothing of sense, but in the form that was asked for."""
    api = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    pytest.importorskip("llguidance", reason="llguidance is not installed")
    flag = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
            "additionalProperties": False}  # fmt: skip
    with serving({"model": lm}) as address:
        chat = api.ChatOpenAI(
            model="model", base_url=f"{address}/v1", api_key="none", max_tokens=80
        )
        formed = chat.with_structured_output({"title": "flag", **flag}, method="json_schema")
        assert formed.invoke("On?")["on"] in (True, False)
        tool = {"type": "function", "function": {"name": "switch", "parameters": flag}}
        answer = chat.bind_tools([tool], tool_choice="switch").invoke("On?")
        assert [call["name"] for call in answer.tool_calls] == ["switch"]
        assert answer.tool_calls[0]["args"]["on"] in (True, False)


@pytest.fixture(scope="module")
def harness() -> Any:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    return pytest.importorskip("lm_eval.models.openai_completions")


def instance(kind: str, *arguments: Any) -> Any:
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def test_the_harness_scores_and_generates(harness: Any, lm: LocalLM, tmp_path: Path) -> None:
    """`local-completions`: log-likelihoods by echo are those of the model itself."""
    save_folder(None, lm.checkpoint, tmp_path / "model")
    pairs = [("Backwards: red", " tree"), ("a tree is", " a"), ("a tree is", "x y z")]
    with serving({"model": lm}) as address:
        theirs = harness.LocalCompletionsAPI(
            base_url=f"{address}/v1/completions", model="model", tokenized_requests=False,
            tokenizer=str(tmp_path / "model"), tokenizer_backend="huggingface", max_length=128,
        )  # fmt: skip
        found = theirs.loglikelihood([instance("loglikelihood", *pair) for pair in pairs])
        until = {"until": ["\n\n"], "max_gen_toks": 9, "temperature": 0}
        said = theirs.generate_until([instance("generate_until", "a tree is", until)])
    for (value, greedy), own in zip(found, lm.score(pairs), strict=True):
        assert value == pytest.approx(own.log_probability, abs=1e-3)
        assert greedy == own.greedy
    (expected,) = complete(lm, [Request("a tree is", 9, stop=("\n\n",))])
    assert said == [expected.text]


def test_the_harness_chats(harness: Any, lm: LocalLM) -> None:
    """`local-chat-completions`."""
    with serving({"model": lm}) as address:
        theirs = harness.LocalChatCompletion(
            base_url=f"{address}/v1/chat/completions", model="model"
        )
        turns = theirs.apply_chat_template([{"role": "user", "content": QUESTION}])
        until = {"until": ["\n\n"], "max_gen_toks": 9, "temperature": 0}
        said = theirs.generate_until([instance("generate_until", turns, until)])
    (expected,) = complete(lm, [Request((Message("user", QUESTION),), 9, stop=("\n\n",))])
    assert said == [expected.text]
