"""Each setting of decoding through the official client: it reaches the engine and changes what is
said, in answers and in streams, of chats and of completions. The engine asked directly is the
witness; `tests/parity` and `tests/unit/generate` hold the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tutelage.backends.local import LocalLM
from tutelage.decoding import Beam, Contrastive, Guided, Penalties
from tutelage.lm import Message, Prompt, Request, Sampling, complete
from tutelage.serve.schema import ChatRequest, CompletionRequest

from .serving import serving

SAID = "Hello there"
DRAWN: dict[str, Any] = {"temperature": 1.0, "seed": 5}
BEAMS: dict[str, Any] = {"use_beam_search": True, "beam_width": 4, "n": 1}
SCHEMA = {
    "type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"],
    "additionalProperties": False,
}  # fmt: skip
GRAMMAR = 'start: "ab" | "cd"'


def drawn(**more: Any) -> dict[str, Any]:
    return {"sampling": Sampling(temperature=1.0, seed=5, **more)}


def greedy(**more: Any) -> dict[str, Any]:
    return {"sampling": Sampling(penalties=Penalties(**more))}


def form(guided: Guided) -> dict[str, Any]:
    return {"guided": guided}


CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {"temperature": 1.0, "seed": 5}, drawn()),
    ({"temperature": 1.0, "seed": 6}, DRAWN, drawn()),
    ({**DRAWN, "temperature": 2.0}, DRAWN, drawn()),
    (DRAWN, {**DRAWN, "top_p": 0.3}, drawn(top_p=0.3)),
    (DRAWN, {**DRAWN, "top_k": 2}, drawn(top_k=2)),
    (DRAWN, {**DRAWN, "min_p": 0.9}, drawn(min_p=0.9)),
    (DRAWN, {**DRAWN, "typical_p": 0.2}, drawn(typical_p=0.2)),
    ({}, {"logit_bias": {"65": 100}}, {"sampling": Sampling(logit_bias=((65, 100.0),))}),
    ({}, {"presence_penalty": 1.9}, greedy(presence=1.9)),
    ({}, {"frequency_penalty": 1.9}, greedy(frequency=1.9)),
    ({}, {"repetition_penalty": 9}, greedy(repetition=9.0)),
    ({}, {"no_repeat_ngram_size": 1}, greedy(no_repeat_ngram=1)),
    ({}, {"max_tokens": 7}, {"max_new_tokens": 7}),
    ({}, BEAMS, {"search": Beam(4)}),
    ({**BEAMS, "n": 4}, {**BEAMS, "n": 4, "beam_groups": 2, "diversity_penalty": 9.0},
     {"search": Beam(4, groups=2, diversity=9.0, returned=4)}),
    ({}, {"penalty_alpha": 0.9}, {"search": Contrastive(0.9, 4)}),
    ({"penalty_alpha": 0.9, "top_k": 1}, {"penalty_alpha": 0.9, "top_k": 9},
     {"search": Contrastive(0.9, 9)}),
    ({}, {"guided_regex": "[a-c]{9}"}, form(Guided("regex", "[a-c]{9}"))),
    ({}, {"structured_outputs": {"regex": "[a-c]{9}"}}, form(Guided("regex", "[a-c]{9}"))),
    ({}, {"guided_choice": ["yes", "no"]}, form(Guided("choice", choices=("yes", "no")))),
    ({}, {"guided_grammar": GRAMMAR}, form(Guided("grammar", GRAMMAR))),
    ({}, {"structured_outputs": {"grammar": GRAMMAR}}, form(Guided("grammar", GRAMMAR))),
    ({}, {"guided_json": SCHEMA}, form(Guided("json_schema", json.dumps(SCHEMA)))),
    ({}, {"structured_outputs": {"json": SCHEMA}},
     form(Guided("json_schema", json.dumps(SCHEMA)))),
    ({}, {"structured_outputs": {"json_object": True}}, form(Guided("json_object"))),
]  # fmt: skip
"""What is asked without the setting, with it, and of the engine."""


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


def said(client: openai.OpenAI, chat: bool, stream: bool, body: dict[str, Any]) -> str:
    """Settings OpenAI does not know go as the client sends such: in `extra_body`."""
    asked: dict[str, Any] = {"model": "model", "stream": stream,
                             "extra_body": {"max_tokens": 24, **body}}  # fmt: skip
    turns = [{"role": "user", "content": SAID}]
    api: Any = client.chat.completions if chat else client.completions
    found = api.create(**({"messages": turns} if chat else {"prompt": SAID}), **asked)
    texts: dict[int, str] = {}
    for choice in (one for part in found for one in part.choices) if stream else found.choices:
        new = (choice.delta if stream else choice.message).content if chat else choice.text
        texts[choice.index] = texts.get(choice.index, "") + (new or "")
    return "|".join(texts[index] for index in sorted(texts))


@pytest.mark.parametrize(("without", "asked", "wanted"), CASES, ids=lambda case: "-".join(case))
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "text"])
def test_a_setting_changes_the_answer_as_the_engine_says(
    client: openai.OpenAI, lm: LocalLM, chat: bool, without: Any, asked: Any, wanted: Any
) -> None:
    if "guided" in wanted:
        pytest.importorskip("llguidance", reason="llguidance comes with the `guided` extra")
    prompt: Prompt = (Message("user", SAID),) if chat else SAID
    (expected,) = complete(lm, [Request(prompt, **{"max_new_tokens": 24, **wanted})])
    texts = "|".join(one.text for one in (expected, *expected.others))
    assert said(client, chat, False, asked) == texts
    assert said(client, chat, True, asked) == texts
    assert said(client, chat, False, without) != texts


@pytest.mark.parametrize("kind", [ChatRequest, CompletionRequest])
def test_what_a_beam_is_worth_and_when_it_ends_reach_the_search(kind: Any) -> None:
    """Random models end no answer, so that neither would change one here."""
    start = {"messages": [{"role": "user", "content": SAID}]} if kind is ChatRequest else {}
    start = {"model": "model", **(start or {"prompt": SAID}), **BEAMS}
    asked = kind.model_validate({**start, "length_penalty": 2.0, "early_stopping": True})
    (request,) = asked.requests(SAID, 9)
    assert request.search == Beam(4, length_penalty=2.0, early_stopping=True)


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "text"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_where_an_answer_ends(client: openai.OpenAI, lm: LocalLM, chat: bool, stream: bool) -> None:
    whole = said(
        client, chat, stream, {"logit_bias": {"97": 40, "98": 40}, "guided_regex": "(abc){4}"}
    )
    assert whole == "abcabcabcabc"
    form = {"guided_regex": "(abc){4}"}
    assert said(client, chat, stream, {**form, "stop": ["zz", "ca"]}) == "ab"
    assert said(client, chat, stream, {**form, "stop": "ca", "min_tokens": 5}) == "abcab"
    ends = {str(token): 100 for token in lm.checkpoint.tokenizer.eos_ids}
    assert said(client, chat, stream, {"logit_bias": ends}) == ""
    least = said(client, chat, stream, {"logit_bias": ends | {"65": 90}, "min_tokens": 4})
    assert least == "AAAA"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": -1}, "temperature"), ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"), ({"top_p": 1.1}, "top_p"), ({"top_k": 0}, "top_k"),
        ({"min_p": -0.1}, "min_p"), ({"typical_p": 1.5}, "typical_p"), ({"seed": -1}, "seed"),
        ({"presence_penalty": 2.1}, "presence_penalty"), ({"n": 65}, "n"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"), ({"max_tokens": -1}, "max_tokens"),
        ({"repetition_penalty": 0}, "repetition_penalty"), ({"min_tokens": -1}, "min_tokens"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"), ({"stop": [""]}, "stop"),
        ({"logit_bias": {"65": 101}}, "logit_bias"), ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"best_of": 0}, "best_of"), ({**BEAMS, "length_penalty": 11}, "length_penalty"),
        ({**BEAMS, "beam_groups": 3}, "beam_groups"), ({**BEAMS, "beam_width": 65}, "beam_width"),
        ({**BEAMS, "beam_groups": 2, "diversity_penalty": -1}, "diversity_penalty"),
        ({**BEAMS, "early_stopping": 1}, "early_stopping"), ({"penalty_alpha": 1}, "penalty_alpha"),
        ({"guided_json": "{"}, "guided_json"), ({"guided_grammar": "start: x"}, "guided_grammar"),
        ({"structured_outputs": {}, "structured": 1}, "structured"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "guided_choice"),
    ],
    ids=lambda case: case if isinstance(case, str) else None,
)  # fmt: skip
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "text"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_what_cannot_be_is_refused_by_name(
    client: openai.OpenAI, chat: bool, stream: bool, body: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        said(client, chat, stream, body)
    assert caught.value.param.split(".")[0] == param
