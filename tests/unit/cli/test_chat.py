"""`chat`: what is remembered, what the commands do, and how an answer is stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tutelage.backends.scripted import ScriptedLM
from tutelage.cli.chat import Conversation, chat
from tutelage.cli.shared import Shared
from tutelage.errors import WorkError
from tutelage.lm import Capabilities, Event, Request


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.jsonl"
    rules = [("first.*second", "both"), ("first", "one"), ("second", "two"), ("long", "a b c d")]
    path.write_text("\n".join(json.dumps({"match": m, "reply": r}) for m, r in rules))
    return path


def talk(script: Path, *lines: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tutelage", "chat", f"scripted:{script}", *flags],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_answer_sees_the_turns_before_it(script: Path) -> None:
    done = talk(script, "first", "", "second", "/reset", "second", "/quit", "first")
    assert (done.returncode, done.stdout) == (0, "one\nboth\ntwo\n")


def test_json_is_the_conversation_alone(script: Path) -> None:
    done = talk(script, "first", flags=["--json", "--system", "be brief"])
    assert json.loads(done.stdout) == {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "one"},
        ],
        "answers": 1,
    }


def test_an_unknown_command_is_no_turn(script: Path) -> None:
    done = talk(script, "/rest", "second")
    assert "no such command: /rest" in done.stdout and done.stdout.endswith("two\n")


def test_a_turn_that_fails_is_told_and_forgotten(script: Path) -> None:
    done = talk(script, "a bear", "second")
    assert done.stdout == "two\n" and "no rule" in done.stderr and done.returncode == 0
    lm = ScriptedLM.open(script)
    found = Conversation(lm, Request((), 10))
    with pytest.raises(WorkError):
        found.answer("a bear", io.StringIO())
    assert found.messages == []


def test_a_cut_answer_says_so(script: Path) -> None:
    done = talk(script, "long", flags=["--max-new-tokens", "2"])
    assert done.stdout == "a b [cut at --max-new-tokens]\n"


class Interrupting(ScriptedLM):
    """Is interrupted after its second word, as by Ctrl-C."""

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        for said, event in enumerate(super().generate(requests, cancelled)):
            yield event
            if said == 1:
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(script: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    found = Conversation(Interrupting(ScriptedLM.open(script)._rules), Request((), 10))
    out = io.StringIO()
    completion = found.answer("long", out)
    assert (completion.finish_reason, completion.text, out.getvalue()) == (
        "cancelled",
        "a b",
        "a b",
    )
    assert found.messages[-1].content == "a b"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_model_without_template_is_given_turns_too(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedLM, "capabilities", lambda self: Capabilities("raw"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("first\nsecond\n"))
    found = chat(f"scripted:{script}", shared=Shared(json=True))
    assert [turn["content"] for turn in found["messages"]] == ["first", "one", "second", "both"]
