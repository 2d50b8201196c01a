"""Which backend a source opens, and which options it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints.programs import run_folder
from tutelage import store
from tutelage.backends.http import HttpLM
from tutelage.backends.open import open_lm
from tutelage.backends.scripted import ScriptedLM
from tutelage.backends.turns import TurnsBefore
from tutelage.errors import ConfigError, GuardError, SourceError
from tutelage.lm import Message, Request, complete


def test_sources_without_weights(tmp_path: Path) -> None:
    script, key = tmp_path / "s.jsonl", tmp_path / "key"
    script.write_text('{"match": "", "reply": "hi"}')
    key.write_text("sk\n")
    assert isinstance(open_lm(f"scripted:{script}"), ScriptedLM)
    assert isinstance(open_lm("https://example.org/v1#a/b", api_key_file=key), HttpLM)


@pytest.mark.parametrize("option", ["adapter", "api_key_file"])
def test_an_option_without_effect_is_refused(tmp_path: Path, option: str) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "reply": "hi"}')
    with pytest.raises(ConfigError):
        open_lm(f"scripted:{script}", **{option: tmp_path})


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(SourceError):
        open_lm("no-such-thing")


@pytest.mark.parametrize("option", [{"device": "cpu"}, {"dtype": "bf16"}, {"exact": True}])
@pytest.mark.parametrize("kind", ["scripted", "http"])
def test_where_to_compute_is_refused_for_what_is_computed_elsewhere(
    tmp_path: Path, kind: str, option: dict[str, Any]
) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "reply": "hi"}')
    source = {"scripted": f"scripted:{script}", "http": "http://127.0.0.1:9/v1#m"}[kind]
    (flag,) = option
    with pytest.raises(ConfigError) as caught:
        open_lm(source, **option)
    assert caught.value.field == f"--{flag}"
    assert open_lm(source, device="auto", dtype="auto", exact=False)


TURNS = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """A script that tells apart what it was shown before the question."""
    script = tmp_path / "echo.jsonl"
    rules = [
        r'{"match": "^system\\n2.2\\n4\\n3.3$", "reply": "system, example, question"}',
        r'{"match": "^2.2\\n4\\n3.3$", "reply": "example, question"}',
        r'{"match": "^3.3$", "reply": "question"}',
    ]
    script.write_text("\n".join(rules))
    return f"scripted:{script}"


def test_a_run_that_recommends_a_script_answers_with_its_turns(tmp_path: Path, echo: str) -> None:
    run = run_folder(tmp_path / "run", base=echo, messages=TURNS)
    opened = open_lm(str(run))
    asked = Message("user", "3+3")
    prompts = [(asked,), (Message("system", "system"), asked), "3+3"]
    answers = complete(opened, [Request(prompt) for prompt in prompts])
    assert [answer.text for answer in answers] == [
        "example, question",
        "system, example, question",
        "question",
    ]
    assert opened.count_tokens((asked,)) == 3 and opened.count_tokens("3+3") == 1
    assert type(open_lm(str(run_folder(tmp_path / "bare", base=echo)))) is ScriptedLM


def test_a_run_that_recommends_a_server_takes_its_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk\n")
    run = run_folder(tmp_path / "run", base="http://127.0.0.1:9/v1#m", messages=TURNS)
    opened = open_lm(str(run), api_key_file=key)
    assert isinstance(opened, TurnsBefore) and isinstance(opened.lm, HttpLM)
    for refused in ({"adapter": tmp_path}, {"device": "cpu"}, {"exact": True}):
        with pytest.raises(ConfigError):
            open_lm(str(run), **refused)  # type: ignore[arg-type]


def test_a_script_changed_after_the_run_is_refused(tmp_path: Path, echo: str) -> None:
    script = Path(echo.partition(":")[2])
    run = run_folder(tmp_path / "run", base=echo, fingerprint=store.sha256(script))
    open_lm(str(run))
    script.write_text('{"match": "", "reply": "other"}')
    with pytest.raises(GuardError, match="is not the model it was"):
        open_lm(str(run))
