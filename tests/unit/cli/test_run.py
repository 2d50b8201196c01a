"""What `run` prints for people, and that the next step it prints works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle import example_record
from tests.unit.lifecycle.fakes import write_rows
from tests.unit.serve.serving import KEY, serving
from tutelage.backends.scripted import ScriptedLM
from tutelage.cli.main import run_command
from tutelage.cli.run import show


def test_a_candidate_over_the_memory_limit_is_marked_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    record = example_record.record()
    result = {**record, "metric": record["detail"]["metric"]}
    show(result)
    plain = capsys.readouterr().out
    assert "over budget" not in plain and "- few-shot:" not in plain
    few = record["candidates"][2]
    few["over_budget"], few["reason"] = True, "measured; it took 7.00 GB of memory"
    show(result)
    page = capsys.readouterr().out
    assert "over budget" in page and "- few-shot: measured; it took 7.00 GB of memory" in page
    assert "recommended" in page


@pytest.fixture
def table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str | None], list[str]]:
    """The table's lines in a terminal of so many columns, or in a file."""

    def shown(columns: str | None, longer: str = "") -> list[str]:
        if columns is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", columns)
        record = example_record.record()
        for one in record["candidates"]:
            one["name"] = f"smollm2-{one['name']}{longer}"
        record["recommended"]["candidate"] = f"smollm2-lora{longer}"
        show({**record, "metric": record["detail"]["metric"]})
        lines = capsys.readouterr().out.split("\n- ")[0].splitlines()
        return lines[: next((n for n, line in enumerate(lines) if not line), None)]

    return shown


@pytest.mark.parametrize("columns", ["48", "60", "80", "100", "132"])
def test_the_table_is_never_wider_than_the_terminal(
    table: Callable[..., list[str]], columns: str
) -> None:
    for longer in ("", "-of-a-model-with-a-long-name"[: int(columns) // 3]):
        lines = table(columns, longer)
        assert max(map(len, lines)) <= int(columns)
        named = [line for line in lines if "smollm2-" in line]
        assert len(named) == len(example_record.record()["candidates"])
        assert sum("recommended" in line for line in lines) == 1
        assert "\n".join(lines).count("(") >= 3, "intervals are kept longest"


def test_a_wider_terminal_shows_more(table: Callable[..., list[str]]) -> None:
    shown = {columns: table(columns) for columns in ("80", "100", "132", None)}
    wide = shown["132"]
    assert wide == shown[None], "a file has no edge"
    assert any("forgetting" in line for line in wide)
    (line,) = [line for line in wide if line.endswith("recommended")]
    assert line.count(" to ") == 2 and " GB " in line
    assert not any(" GB" in line for line in shown["100"])
    narrow = [line for line in shown["80"] if line.startswith("* ")]
    assert narrow[0].startswith("* smollm2-lora ") and narrow[1] == "* recommended"
    assert narrow[0].count(" to ") == 1


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Answers a number only where a solved example stands before it."""
    path = tmp_path / "script.jsonl"
    rules = [(rf"say \d+\nnumber \d+\n(.*\n)?say {n}$", f"number {n}") for n in range(60)]
    rules.append(("", "what?"))
    path.write_text("\n".join(json.dumps({"match": m, "reply": r}) for m, r in rules))
    return path


def ran(tmp_path: Path, model: str, *flags: str) -> int:
    """A run over numbers, its folder RUN."""
    rows = write_rows(tmp_path / "rows.jsonl", [(f"say {n}", f"number {n}") for n in range(60)])
    project = tmp_path / "project.toml"
    project.write_text(
        f'name = "n"\n[task]\ndata = {json.dumps(rows)}\nmetric = "exact_match"\n'
        "rows = { train = 20, development = 8, test = 8 }\n"
        f"[models]\ncandidates = [{json.dumps(model)}]\n"
        '[search]\nrungs = ["zero-shot", "one-shot"]\n'
    )
    out = str(tmp_path / "RUN")
    return run_command(["run", str(project), "--out", out, "--quiet", "--json", *flags])


def test_a_run_is_no_file(tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "RUN").write_text("mine")
    assert ran(tmp_path, f"scripted:{script}") == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["field"], error["got"]) == ("--out", str(tmp_path / "RUN"))
    assert (tmp_path / "RUN").read_text() == "mine"


def in_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    capsys.readouterr()
    return run_command([*arguments, "--json"]), json.loads(capsys.readouterr().out)


def test_what_a_run_over_a_script_recommends_answers_as_it_was_measured(
    tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tmp_path, f"scripted:{script}") == 0
    assert json.loads(capsys.readouterr().out)["recommended"]["rung"] == "one-shot"
    code, found = in_json(["generate", str(tmp_path / "RUN"), "say 7"], capsys)
    assert (code, found["text"]) == (0, "number 7")
    code, found = in_json(["generate", str(tmp_path / "RUN"), "say 7", "--raw"], capsys)
    assert (code, found["text"]) == (0, "what?")


def test_a_run_over_a_server_is_given_its_key_and_never_writes_it(
    tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "the-key-file"
    key.write_text(KEY)
    run, with_key = str(tmp_path / "RUN"), ["--api-key-file", str(key)]
    with serving({"model": ScriptedLM.open(script)}, key=KEY) as address:
        source = f"{address}/v1#model"
        assert ran(tmp_path, source) == 2, "the server wants a key"
        assert ran(tmp_path, source, *with_key) == 0
        code, found = in_json(["generate", run, "say 7", *with_key], capsys)
        assert (code, found["text"]) == (0, "number 7")
        assert in_json(["generate", run, "say 7"], capsys)[0] == 2
    files = [file for file in Path(run).rglob("*") if file.is_file()]
    assert len(files) > 5
    for file in files:
        assert KEY.encode() not in file.read_bytes() and b"the-key-file" not in file.read_bytes()


@pytest.mark.parametrize("content", [None, "", "two words", "sk-good"])
def test_a_key_that_is_none_or_for_nobody_is_refused_before_any_work(
    tmp_path: Path, script: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    source = f"scripted:{script}" if content == "sk-good" else "http://127.0.0.1:9/v1#m"
    assert ran(tmp_path, source, "--api-key-file", str(key)) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "--api-key-file"
    assert not (tmp_path / "RUN").exists()
