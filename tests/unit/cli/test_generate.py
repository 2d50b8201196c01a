"""`generate` through the real command line, with a scripted model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tutelage.backends.scripted import ScriptedLM
from tutelage.cli.generate import generate, say
from tutelage.cli.main import run_command
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError
from tutelage.lm import Capabilities, Message, Prompt, Request


@pytest.fixture
def source(tmp_path: Path) -> str:
    script = tmp_path / "script.jsonl"
    rules = [("capital", "Paris it is, mon ami."), ("fox", "🦊 żółć")]
    script.write_text("\n".join(json.dumps({"match": m, "reply": r}) for m, r in rules))
    return f"scripted:{script}"


def command(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python -m tutelage ...`."""
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_contracts_object(source: str) -> None:
    code, out, _ = command("generate", source, "the capital?", "--json", "--max-new-tokens", "2")
    assert code == 0
    found = json.loads(out)
    assert found.pop("seconds") >= 0
    assert found == {
        "text": "Paris it",
        "tokens": [],
        "finish_reason": "length",
        "prompt_tokens": 2,
        "completion_tokens": 2,
    }


def test_for_people_the_answer_alone_is_on_stdout(source: str) -> None:
    code, out, err = command("generate", source, "a fox")
    assert (code, out) == (0, "🦊 żółć\n")
    assert "2 + 2 tokens" in err


def test_torch_is_not_imported_for_a_scripted_model(source: str) -> None:
    code = (
        "import sys; from tutelage.cli.main import run_command; "
        f"run_command(['generate', {source!r}, 'capital']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--temperature", "-1"], "--temperature"),
        (["--temperature", "nan"], "--temperature"),
        (["--temperature", "inf"], "--temperature"),
        (["--temperature", "2.1"], "--temperature"),
        (["--temperature", "hot"], "--temperature"),
        (["--max-new-tokens", "0"], "--max-new-tokens"),
        (["--max-new-tokens", "-5"], "--max-new-tokens"),
        (["--temperature", "1", "--top-k", "0"], "--top-k"),
        (["--temperature", "1", "--top-p", "0"], "--top-p"),
        (["--temperature", "1", "--top-p", "nan"], "--top-p"),
        (["--temperature", "1", "--top-p", "1.5"], "--top-p"),
        (["--top-k", "5"], "--top-k"),
        (["--temperature", "0", "--top-p", "0.9"], "--top-p"),
        (["--stop", ""], "--stop"),
        (["--adapter", "."], "--adapter"),
        (["--seed", "-1"], "--seed"),
        (["--temperature", "1", "--min-p", "2"], "--min-p"),
        (["--temperature", "1", "--typical-p", "0"], "--typical-p"),
        (["--min-p", "0.1"], "--min-p"),
        (["--repetition-penalty", "0"], "--repetition-penalty"),
        (["--frequency-penalty", "3"], "--frequency-penalty"),
        (["--presence-penalty", "-3"], "--presence-penalty"),
        (["--no-repeat-ngram-size", "-2"], "--no-repeat-ngram-size"),
        (["--logit-bias", "x=3"], "--logit-bias"),
        (["--logit-bias", "3=101"], "--logit-bias"),
        (["--min-new-tokens", "500"], "--min-new-tokens"),
        (["--logprobs", "21"], "--logprobs"),
        (["--n", "2"], "--n"),
        (["--n", "3", "--best-of", "2", "--temperature", "1"], "--best-of"),
        (["--beam-width", "0"], "--beam-width"),
        (["--beam-width", "2", "--n", "3"], "--n"),
        (["--beam-width", "2", "--temperature", "1"], "--beam-width"),
        (["--beam-width", "2", "--best-of", "2"], "--best-of"),
        (["--beam-width", "3", "--beam-groups", "2"], "--beam-groups"),
        (["--beam-width", "4", "--diversity-penalty", "1"], "--diversity-penalty"),
        (["--length-penalty", "2"], "--length-penalty"),
        (["--early-stopping"], "--early-stopping"),
        (["--penalty-alpha", "1"], "--penalty-alpha"),
        (["--penalty-alpha", "0.5", "--beam-width", "2"], "--penalty-alpha"),
        (["--penalty-alpha", "0.5", "--n", "2"], "--n"),
        (["--penalty-alpha", "0.5", "--best-of", "2"], "--best-of"),
        (["--penalty-alpha", "0.5", "--regex", "a"], "--penalty-alpha"),
        (["--regex", "a", "--choice", "b"], "--choice"),
        (["--json-schema", "/nowhere"], "--json-schema"),
        (["--draft-tokens", "3"], "--draft-tokens"),
        (["--kv-cache-dtype", "int3"], "--kv-cache-dtype"),
        (["--dtype", "fp99"], "--dtype"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    source: str, flags: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["generate", source, "capital", "--json", *flags]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["field"] == field
    assert error["message"]


def test_a_prompt_no_rule_matches_is_a_failure(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["generate", source, "a bear", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "work"


@pytest.mark.parametrize("given", ["scripted:/nowhere/file", "nothing-like-this", "ftp://x#y"])
def test_a_source_that_is_none_is_at_fault(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["generate", given, "x", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "source"


def test_stop_may_be_given_more_than_once(source: str) -> None:
    asked: dict[str, Any] = {"stop": (" mon", " is"), "shared": Shared(json=True)}
    assert generate(source, "capital", **asked)["text"] == "Paris it"


def test_a_key_for_a_script_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        generate(source, "capital", api_key_file=tmp_path, shared=Shared(json=True))


def test_every_model_is_given_a_message_and_raw_text_only_if_wanted(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Prompt] = []
    answer = ScriptedLM.generate

    def watched(lm: ScriptedLM, requests: Sequence[Request], cancelled: Any = None) -> Any:
        seen.extend(request.prompt for request in requests)
        return answer(lm, requests, cancelled)

    monkeypatch.setattr(ScriptedLM, "generate", watched)
    monkeypatch.setattr(ScriptedLM, "capabilities", lambda self: Capabilities("raw"))
    generate(source, "capital", shared=Shared(json=True))
    generate(source, "capital", raw=True, shared=Shared(json=True))
    assert seen == [(Message("user", "capital"),), "capital"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_obeys_no_answer() -> None:
    said, file = Terminal(), io.StringIO()
    text = "a\tb\n\x1b]0;owned\x07\x9b2J\r c"
    say(text, said)
    say(text, file)
    assert said.getvalue() == "a\tb\n\\x1b]0;owned\\x07\\x9b2J\\r c"
    assert file.getvalue() == text
