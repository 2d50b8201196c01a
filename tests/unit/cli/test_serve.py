"""`serve` as a process: the line it prints, its signals, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.unit.checkpoints.programs import run_folder
from tests.unit.serve.serving import SECONDS, get, post
from tutelage.cli.main import run_command


@pytest.fixture
def source(tmp_path: Path) -> str:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "capital", "reply": "Paris it is."}\n')
    return f"scripted:{script}"


@contextlib.contextmanager
def process(source: str, *flags: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A running server and the line it printed."""
    arguments = [sys.executable, "-m", "tutelage", "serve", source, "--port", "0", *flags]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_line_and_an_answer(source: str, flags: list[str]) -> None:
    with process(source, *flags) as (running, line):
        assert line == {"url": line["url"], "pid": running.pid, "model": "model"}
        for base in (line["url"] + "/v1", line["url"]):
            with openai.OpenAI(base_url=base, api_key="none", max_retries=0) as client:
                answer = client.chat.completions.create(
                    model=line["model"], messages=[{"role": "user", "content": "the capital?"}]
                )
                assert answer.choices[0].message.content == "Paris it is."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_quietly(source: str, number: int) -> None:
    with process(source) as (running, line):
        assert get(line["url"] + "/health").json()["status"] == "ok"
        running.send_signal(number)
        out, err = running.communicate(timeout=SECONDS)
        assert (running.returncode, out, err) == (0, "", "")


def test_prompts_and_keys_are_not_logged(source: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    with process(source, "--api-key-file", str(key)) as (running, line):
        body = {"model": "model", "prompt": "private words"}
        for headers in ({}, {"Authorization": "Bearer sk-secret"}):
            url = line["url"] + "/v1/completions"
            post(url, json=body, headers=headers)
        running.terminate()
        out, err = running.communicate(timeout=SECONDS)
        assert out == "" and "WorkError while answering" in err
        assert "private" not in err and "sk-secret" not in err and str(tmp_path) not in err


def test_a_server_can_serve_a_server(source: str) -> None:
    with process(source) as (_, below), process(f"{below['url']}/v1#model") as (_, line):
        body = {"model": "model", "prompt": "capital", "max_tokens": 2}
        answer = post(line["url"] + "/v1/completions", json=body).json()
        assert answer["choices"][0]["text"] == "Paris it"
        assert answer["usage"]["completion_tokens"] == 2


def test_a_run_is_served_as_it_was_measured(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(
        '{"match": "^2.2\\\\n4\\\\n3.3$", "reply": "6"}\n{"match": "", "reply": "?"}\n'
    )
    shown = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
    run = run_folder(tmp_path / "run", base=f"scripted:{script}", messages=shown)
    with process(str(run)) as (_, line):
        body = {"model": "model", "messages": [{"role": "user", "content": "3+3"}]}
        answer = post(line["url"] + "/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == "6"


def test_a_taken_port(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run_command(["serve", source, "--json", "--port", port]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["field"] == "--port" and error["got"] == port and "in use" in error["message"]


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--port", "70000"], "--port"),
        (["--host", "0.0.0.0"], "--host"),
        (["--host", "no such host"], "--host"),
        (["--waiting", "-1"], "--waiting"),
        (["--adapter", "nothing"], "--adapter"),
        (["--adapter", "a=/nowhere/at/all"], "--adapter"),
        (["--adapter", "model=."], "--adapter"),
        (["--adapter", "a=."], "--adapter"),
        (["--api-key-file", "/nowhere/key"], "--api-key-file"),
        (["--model-key-file", "/nowhere/key"], "--model-key-file"),
    ],
)
def test_what_it_refuses(
    source: str, flags: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["serve", source, "--json", "--port", "0", *flags]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field
