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

from tests.unit.checkpoints.programs import run_folder
from tutelage.backends.scripted import ScriptedLM
from tutelage.cli.chat import Conversation, chat
from tutelage.cli.shared import Shared
from tutelage.errors import WorkError
from tutelage.lm import Capabilities, Event, Piece, Request


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
    assert "no such command: /rest" in done.stderr and done.stdout == "two\n"
    assert done.returncode == 2


def test_a_turn_that_fails_is_told_and_forgotten(script: Path) -> None:
    lm = ScriptedLM.open(script)
    found = Conversation(lm, Request((), 10))
    with pytest.raises(WorkError):
        found.answer("a bear", io.StringIO())
    assert found.messages == []


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (["a bear", "second"], 1, "two\n"),
        (["second", "/reset", "a bear"], 1, "two\n"),
        (["a bear", "/rest"], 1, ""),
        (["/rest", "a bear"], 2, ""),
        (["second", "/quit", "a bear"], 0, "two\n"),
        ([], 0, ""),
    ],
)
def test_from_a_pipe_the_first_failure_is_the_exit_code_and_the_rest_are_answered(
    script: Path, lines: list[str], code: int, said: str
) -> None:
    done = talk(script, *lines)
    assert (done.returncode, done.stdout) == (code, said)
    assert done.stderr.count("error: ") == sum(line in ("a bear", "/rest") for line in lines) * (
        code != 0
    )


def test_json_after_a_failure_has_the_error_and_what_was_said(script: Path) -> None:
    done = talk(script, "a bear", "second", flags=["--json"])
    found = json.loads(done.stdout)
    assert (done.returncode, found["error"]["kind"]) == (1, "work")
    assert [turn["content"] for turn in found["messages"]] == ["second", "two"]


def test_at_a_terminal_a_failure_was_seen_and_is_no_exit_code(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("a bear\nsecond\n"))
    found = chat(f"scripted:{script}", shared=Shared(json=True))
    assert set(found) == {"messages", "answers"} and found["answers"] == 1
    assert "no rule" in capsys.readouterr().err


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bytes_that_are_no_text_spoil_one_turn(script: Path, locale: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "chat", f"scripted:{script}"],
        input="first \xff\nsecond\n".encode("latin-1"),
        capture_output=True,
        env={**os.environ, "LC_ALL": locale},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"two\n")
    assert rb"first \xff" in done.stderr and b"Traceback" not in done.stderr


def test_an_answer_that_breaks_off_ends_its_line(script: Path) -> None:
    class Breaking(ScriptedLM):
        def generate(
            self, requests: Sequence[Request], cancelled: object = None
        ) -> Iterator[Event]:
            yield Piece(0, "half an")
            raise WorkError("the connection broke")

    out = io.StringIO()
    with pytest.raises(WorkError):
        Conversation(Breaking([]), Request((), 10)).answer("x", out)
    assert out.getvalue() == "half an\n"


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


def test_a_run_talks_as_it_was_measured(script: Path, tmp_path: Path) -> None:
    shown = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "one"}]
    run = run_folder(tmp_path / "run", base=f"scripted:{script}", messages=shown)
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "chat", str(run)],
        input="second\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "both\n")


def test_a_model_without_template_is_given_turns_too(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedLM, "capabilities", lambda self: Capabilities("raw"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("first\nsecond\n"))
    found = chat(f"scripted:{script}", shared=Shared(json=True))
    assert [turn["content"] for turn in found["messages"]] == ["first", "one", "second", "both"]
