"""Answers held to a form: valid ones only, in any company, and bad forms refused in time."""

from __future__ import annotations

import json
import random
import re
import time

import pytest

from tests.unit.generate.forms import fulfils, hostile, schema
from tutelage.backends.local import LocalLM
from tutelage.decoding import Guided
from tutelage.errors import ConfigError, RequestError
from tutelage.lm import Completion, Request, Sampling, complete
from tutelage.machine.memory import Peak

pytest.importorskip("llguidance", reason="llguidance comes with the `guided` extra")


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)


def guided(lm: LocalLM, form: Guided, count: int = 1, tokens: int = 160) -> list[Completion]:
    """Answers of a random model, which says anything it may."""
    asked = [Request("x", tokens, Sampling(1.0, seed=s), guided=form) for s in range(count)]
    return complete(lm, asked)


@pytest.mark.parametrize("text", [r"[a-c]{3}-[0-9]+x", r"(yes|no)( maybe)?", r"\{\}|é+!"])
def test_a_regular_expression(lm: LocalLM, text: str) -> None:
    found = guided(lm, Guided("regex", text), 6)
    for one in found:
        whole = re.compile(text).fullmatch(one.text)
        assert whole or one.finish_reason == "length", one.text
    assert any(one.finish_reason == "stop" for one in found)


def test_a_choice(lm: LocalLM) -> None:
    choices = ('Par"is', "Lon\ndon é", "a", "ab")
    found = guided(lm, Guided("choice", choices=choices), 12)
    assert {one.text for one in found} <= set(choices) and len({one.text for one in found}) > 1
    assert {one.finish_reason for one in found} == {"stop"}


def test_a_grammar(lm: LocalLM) -> None:
    for one in guided(lm, Guided("grammar", 'start: "a" start "b" | "c"'), 6):
        left, _, right = one.text.partition("c")
        assert one.finish_reason == "length" or left == "a" * len(right) == right.replace("b", "a")


def test_any_json_object(lm: LocalLM) -> None:
    """Closing brackets are made likely, or a random model would never end."""
    asked = [
        Request(
            "x", 200, Sampling(1.0, seed=s, logit_bias=((ord('"'), 6.0), (ord("}"), 6.0))),
            guided=Guided("json_object"),
        )
        for s in range(5)
    ]  # fmt: skip
    found = [json.loads(one.text) for one in complete(lm, asked) if one.finish_reason == "stop"]
    assert len(found) > 2 and all(isinstance(value, dict) for value in found)


def valid(lm: LocalLM, count: int, seed: int) -> tuple[int, int]:
    """Of so many ordinary schemas: how many gave an answer, how many of these a right one."""
    drawn, right, answered = random.Random(seed), 0, 0
    for _ in range(count):
        wanted = schema(drawn)
        try:
            (one,) = guided(lm, Guided("json_schema", json.dumps(wanted)), tokens=600)
        except ConfigError:
            continue
        answered += 1
        right += one.finish_reason == "stop" and fulfils(json.loads(one.text), wanted)
    return answered, right


def test_ordinary_schemas(lm: LocalLM) -> None:
    assert valid(lm, 12, seed=0) == (12, 12)


@pytest.mark.long
def test_500_ordinary_schemas(lm: LocalLM) -> None:
    answered, right = valid(lm, 500, seed=1)
    assert answered >= 475 and right >= 475


def test_company_changes_nothing(lm: LocalLM) -> None:
    forms = [None, Guided("regex", "[a-z]{9}"), Guided("choice", choices=("one", "two")), None]
    asked = [
        Request("x" * (n + 1), 9, Sampling(n % 2, seed=n), guided=form)
        for n, form in enumerate(forms)
    ]
    together = [one.text for one in complete(lm, asked)]
    assert together == [complete(lm, [one])[0].text for one in asked]
    assert re.fullmatch("[a-z]{9}", together[1]) and together[2] in ("one", "two")


def test_an_end_that_comes_too_early_is_not_forced(lm: LocalLM) -> None:
    """Where the form is at its end before the least length, the form decides."""
    (one,) = complete(
        lm, [Request("x", 9, guided=Guided("choice", choices=("ab",)), min_new_tokens=5)]
    )
    assert (one.text, one.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize(
    "form",
    [
        Guided("regex", "(("),
        Guided("regex", "a{2,1}"),
        Guided("json_schema", '{"type": "foo"}'),
        Guided("json_schema", "[]"),
        Guided("json_schema", '{"$ref": "https://example.org/x.json"}'),
        Guided("json_schema", '{"type": "string", "format": "wrong"}'),
        Guided("grammar", "start: nothing"),
        Guided("grammar", "no grammar"),
    ],
)
def test_a_form_that_cannot_be_is_named(lm: LocalLM, form: Guided) -> None:
    with pytest.raises(ConfigError) as caught:
        guided(lm, form)
    assert caught.value.field == form.name and len(caught.value.message) < 400


def bounded(lm: LocalLM, forms: list[Guided]) -> None:
    """Each is answered or refused within seconds of processor time and 1 GB of memory."""
    with Peak() as peak:
        for form in forms:
            begun = time.process_time()
            try:
                guided(lm, form, tokens=5)
            except RequestError as error:
                assert error.field == form.name
            assert time.process_time() - begun < 10, form.text[:60]
    assert peak.above < 1_000_000_000


def test_hostile_forms(lm: LocalLM) -> None:
    bounded(lm, hostile(10))


@pytest.mark.long
def test_200_hostile_forms(lm: LocalLM) -> None:
    bounded(lm, hostile(200))
