"""`generate`, `serve`, `eval` and `compare`, of a tiny model and of a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.contract.command import HERE, Called, called, installed, one_object
from tests.contract.keys import check, check_measured


def source_of(kind: str, script: str) -> tuple[str, tuple[str, ...]]:
    """A model source and the options of its kind."""
    return (script, ()) if kind == "script" else ("preset:llama-tiny", HERE)


@pytest.mark.parametrize("kind", ["script", "preset"])
def test_generate(kind: str, script: str) -> None:
    source, where = source_of(kind, script)
    prompt = "Backwards 0: red"
    code, found, _ = called("generate", source, prompt, "--max-new-tokens", "6", *where)
    assert code == 0
    check("generate", found)
    assert found["finish_reason"] in ("stop", "length")
    assert found["prompt_tokens"] > 0 and found["completion_tokens"] <= 6
    assert prompt not in found["text"]
    if kind == "script":
        assert (found["text"], found["finish_reason"], found["tokens"]) == ("der", "stop", [])
    else:
        assert len(found["tokens"]) == found["completion_tokens"]


def test_generate_is_greedy_and_prints_it_whole(script: str) -> None:
    given = ("generate", "preset:llama-tiny", "hello", "--max-new-tokens", "5", *HERE)
    assert called(*given).found["text"] == called(*given).found["text"]
    cut = called("generate", script, "Backwards", "--max-new-tokens", "1").found
    assert (cut["text"], cut["finish_reason"]) == ("who", "length")


def test_serves_first_line(script: str) -> None:
    command = [*installed(), "serve", script, "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        try:
            assert running.stdout is not None
            found = one_object(running.stdout.readline())
            check("serve", found)
            assert found["model"] == "model" and found["url"].startswith("http://127.0.0.1:")
            os.kill(found["pid"], signal.SIGTERM)  # the pid is the server's own
            assert running.wait(120) == 0 and running.stdout.read() == ""
        finally:
            running.kill()


@pytest.mark.parametrize("kind", ["script", "preset"])
def test_eval(kind: str, script: str, rows: str, tmp_path: Path) -> None:
    source, where = source_of(kind, script)
    few = ("--limit", "6", "--max-new-tokens", "8", "--metric", "exact_match", "--metric", "chrf")
    given = ("eval", source, "--data", rows, *few, *where)
    code, found, _ = called(*given)
    assert code == 0
    check("eval", found)
    assert list(found["metrics"]) == ["exact_match", "chrf"]
    for measured in found["metrics"].values():
        check_measured(measured)
    assert found["n"] == 6 == len(found["items"])
    file = tmp_path / "eval.json"
    written = called(*given, "--out", str(file)).found
    check("eval", written)
    assert written["items"] == str(file)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["metrics"] == found["metrics"] and kept["items"] == found["items"]


def test_compare(script: str, rows: str, run: Called, tmp_path: Path) -> None:
    files = {}
    for name, source, where in (("a", script, ()), ("b", "preset:llama-tiny", HERE)):
        files[name] = str(tmp_path / f"{name}.json")
        few = ("--max-new-tokens", "8", "--metric", "exact_match")
        assert called("eval", source, "--data", rows, "--out", files[name], *few, *where).code == 0
    code, found, _ = called("compare", files["a"], files["b"])
    assert code == 0
    check("compare", found)
    assert (found["metric"], found["verdict"], found["n"]) == ("exact_match", "better", 40)
    assert called("compare", files["b"], files["a"]).found["verdict"] == "worse"
    itself = called("compare", files["a"], files["a"]).found
    assert (itself["verdict"], itself["difference"]) == ("cannot tell", 0)
    assert itself["n_needed"] is None
    runs = called("compare", run.found["run"], run.found["run"])
    assert runs.code == 0
    check("compare", runs.found)
    other = called("compare", files["a"], run.found["run"])
    assert other.code == 2 and other.found["error"]["field"] == "items"
