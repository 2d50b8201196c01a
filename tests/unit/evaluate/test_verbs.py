"""`eval` and `compare` as the command line runs them, on a scripted model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.cli.main import run_command
from tutelage.store import MANIFEST

METRICS = ["rougeL", "rouge1", "rouge2", "bleu", "chrf", "exact_match"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [
        {"id": f"r{k}", "prompt": f"say {k}", "completion": f"the number is {k}"} for k in range(30)
    ]
    write(tmp_path / "data.jsonl", rows)
    good = [{"match": f"say {k}$", "reply": f"the number is {k}"} for k in range(0, 30, 2)]
    write(tmp_path / "good.jsonl", [*good, {"match": "", "reply": "the number is unknown"}])
    write(tmp_path / "bad.jsonl", [{"match": "", "reply": "no idea at all"}])
    return tmp_path


def write(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


class Command:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        code = run_command([*map(str, arguments), "--json", "--quiet"])
        return code, json.loads(self.capsys.readouterr().out)


@pytest.fixture
def tutelage(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_eval_measures_and_writes_its_items(files: Path, tutelage: Command) -> None:
    out = files / "good.json"
    code, found = tutelage(
        "eval", f"scripted:{files}/good.jsonl", "--data", files / "data.jsonl", "--out", out
    )
    assert code == 0 and list(found["metrics"]) == METRICS
    assert found["metrics"]["exact_match"]["value"] == 0.5
    assert found["metrics"]["rougeL"]["value"] == pytest.approx(0.5 + 0.5 * 0.75)
    assert found["metrics"]["rougeL"]["low"] < 0.875 < found["metrics"]["rougeL"]["high"]
    assert (found["task"], found["n"], found["truncated"]) == ("data.jsonl", 30, 0)
    assert found["valid"] and found["extraction_rate"] == 1 and len(found["prompt_sha256"]) == 64
    assert found["items"] == str(out)
    stored = json.loads(out.read_text())
    assert stored["metrics"] == found["metrics"] and len(stored["items"]) == 30
    assert stored["items"][4]["id"] == "r4" and stored["items"][4]["answer"] == "the number is 4"
    assert stored["items"][4]["statistics"]["exact_match"] == [1, 1]


@pytest.mark.parametrize("place", ["", "data.jsonl/new.json"])
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    files: Path, tutelage: Command, place: str
) -> None:
    before = sorted(files.iterdir())
    script, data = f"scripted:{files}/bad.jsonl", files / "data.jsonl"
    code, found = tutelage("eval", script, "--data", data, "--out", files / place)
    assert code == 2 and found["error"]["field"] == "--out"
    nowhere = f"scripted:{files}/none.jsonl"  # opened later
    code, found = tutelage("eval", nowhere, "--data", data, "--out", files / place)
    assert code == 2 and found["error"]["field"] == "--out"
    code, found = tutelage("eval", nowhere, "--data", data, "--out", files / "good.json")
    assert found["error"]["field"] == "model" and sorted(files.iterdir()) == before


def test_eval_without_out_prints_the_items(files: Path, tutelage: Command) -> None:
    _, found = tutelage(
        "eval", f"scripted:{files}/bad.jsonl", "--data", files / "data.jsonl",
        "--metric", "f1", "--metric", "accuracy", "--limit", 4, "--max-new-tokens", 2,
    )  # fmt: skip
    assert list(found["metrics"]) == ["f1", "accuracy"]
    assert [item["answer"] for item in found["items"]] == ["no idea"] * 4
    assert found["cut_off"] == 4


def test_examples_are_shown_and_not_measured(files: Path, tutelage: Command) -> None:
    model, data = f"scripted:{files}/bad.jsonl", files / "data.jsonl"
    _, found = tutelage("eval", model, "--data", data, "--shots", 3)
    shown = [turn["content"] for turn in found["items"][0]["prompt"]][:-1]
    assert found["n"] == 27 and len(shown) == 6
    assert not set(shown) & {item["reference"] for item in found["items"]}
    _, other = tutelage("eval", model, "--data", data, "--shots", 3, "--examples", data)
    assert other["n"] == 30


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--metric", "rougel"], "--metric"),
        (["--limit", "1"], "--limit"),
        (["--shots", "-1"], "--shots"),
        (["--max-new-tokens", "0"], "--max-new-tokens"),
        (["--shots", "31"], "--shots"),
    ],
)
def test_wrong_options_are_named(
    files: Path, tutelage: Command, options: list[str], field: str
) -> None:
    code, found = tutelage(
        "eval", f"scripted:{files}/bad.jsonl", "--data", files / "data.jsonl", *options
    )
    assert code == 2 and found["error"]["field"] == field


@pytest.mark.parametrize(
    "content",
    ["", '{"prompt": "a", "completion": "b"}\n', '{"text": "one"}\n{"text": "two"}\n'],
)
def test_data_with_nothing_to_measure_is_named(
    files: Path, tutelage: Command, content: str
) -> None:
    data = files / "poor.jsonl"
    data.write_text(content)
    code, found = tutelage("eval", f"scripted:{files}/bad.jsonl", "--data", data)
    assert code == 2 and "poor.jsonl" in found["error"]["field"]


def test_compare_says_which_is_better(files: Path, tutelage: Command) -> None:
    for name in ("good", "bad"):
        tutelage(
            "eval", f"scripted:{files}/{name}.jsonl", "--data", files / "data.jsonl",
            "--out", files / f"{name}.json",
        )  # fmt: skip
    code, found = tutelage("compare", files / "good.json", files / "bad.json")
    assert code == 0 and found["verdict"] == "better" and found["metric"] == "rougeL"
    assert found["low"] > 0 and found["p_value"] < 0.001 and found["n"] == 30
    assert found["difference"] == pytest.approx(found["a"]["value"] - found["b"]["value"])
    _, back = tutelage("compare", files / "bad.json", files / "good.json", "--metric", "chrf")
    assert back["verdict"] == "worse" and back["metric"] == "chrf"
    _, same = tutelage("compare", files / "good.json", files / "good.json")
    assert same["verdict"] == "cannot tell" and same["p_value"] == 1 and same["n_needed"] is None
    code, wrong = tutelage("compare", files / "good.json", files / "bad.json", "--metric", "f1")
    assert code == 2 and wrong["error"]["field"] == "--metric"


def test_compare_refuses_other_items_and_other_files(files: Path, tutelage: Command) -> None:
    for limit in (10, 12):
        tutelage(
            "eval", f"scripted:{files}/good.jsonl", "--data", files / "data.jsonl",
            "--limit", limit, "--out", files / f"{limit}.json",
        )  # fmt: skip
    code, found = tutelage("compare", files / "10.json", files / "12.json")
    assert code == 2 and found["error"]["field"] == "items"
    changed = json.loads((files / "10.json").read_text())
    changed["items"][3]["reference"] = "something else"
    (files / "changed.json").write_text(json.dumps(changed))
    code, found = tutelage("compare", files / "10.json", files / "changed.json")
    assert code == 2 and "r3" in found["error"]["got"]
    del changed["items"][3]["statistics"]["rougeL"]
    changed["items"][3]["reference"] = "the number is 3"
    (files / "changed.json").write_text(json.dumps(changed))
    code, found = tutelage("compare", files / "10.json", files / "changed.json")
    assert code == 2 and "statistics.rougeL" in found["error"]["field"]
    broken = json.loads((files / "10.json").read_text())
    broken["items"][3]["statistics"]["rougeL"][0] = math.nan
    (files / "broken.json").write_text(json.dumps(broken))
    code, found = tutelage("compare", files / "10.json", files / "broken.json")
    assert code == 2
    assert found["error"]["field"] == f"{files}/broken.json: items.3.statistics.rougeL"
    (files / "one.json").write_text(json.dumps({**broken, "items": broken["items"][:1]}))
    code, found = tutelage("compare", files / "one.json", files / "one.json")
    assert code == 2 and found["error"]["field"] == str(files / "one.json")
    for other in (files, files / "data.jsonl", files / "missing.json"):
        code, found = tutelage("compare", files / "10.json", other)
        assert code == 2 and found["error"]["field"] == str(other)


@pytest.mark.parametrize(
    "asked", [["--data", "data.jsonl"], ["--task", "text", "--data", "texts.jsonl"]]
)
def test_a_model_of_no_numbers_is_named(files: Path, tutelage: Command, asked: list[str]) -> None:
    """Whether it answers or reads: what is at fault is the model that the request names."""
    model = files / "model"
    save_folder(None, open_checkpoint("preset:llama-tiny"), model)
    (model / MANIFEST).unlink()
    weights = safetensors.torch.load_file(model / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    safetensors.torch.save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    write(files / "texts.jsonl", [{"text": "More than one word to read."}] * 3)
    placed = [str(files / one) if one.endswith(".jsonl") else one for one in asked]
    code, found = tutelage("eval", model, *placed, "--device", "cpu", "--threads", 1)
    assert code == 2 and found["error"]["field"] == "MODEL"
    assert str(model) in found["error"]["message"] and "number" in found["error"]["message"]


def test_people_get_a_page(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(files / "good.json")
    model = f"scripted:{files}/good.jsonl"
    assert run_command(["eval", model, "--data", str(files / "data.jsonl"), "--out", out]) == 0
    page = capsys.readouterr().out
    assert "exact_match" in page and "0.500" in page and "30 rows" in page
    assert run_command(["compare", out, out]) == 0
    assert "cannot tell A from B" in capsys.readouterr().out


@pytest.mark.parametrize(
    "bad", [{"prompt": 5, "completion": "five"}, {"text": "nothing to answer"}], ids=["bad", "text"]
)
@pytest.mark.parametrize("which", ["--data", "--examples"])
def test_strict_stops_at_a_row_that_would_be_set_aside(
    files: Path, tutelage: Command, bad: dict[str, Any], which: str
) -> None:
    rows = [json.loads(line) for line in (files / "data.jsonl").read_text().splitlines()]
    write(files / "mixed.jsonl", [*rows[:9], bad, *rows[9:]])
    data = {"--data": files / "data.jsonl", "--examples": files / "data.jsonl"}
    data[which] = files / "mixed.jsonl"
    asked = ["eval", f"scripted:{files}/bad.jsonl", "--shots", 1]
    asked += [part for pair in data.items() for part in pair]
    assert tutelage(*asked)[0] == 0
    code, found = tutelage(*asked, "--strict")
    assert code == 2
    assert found["error"]["kind"] == "data" and found["error"]["field"].endswith("mixed.jsonl:10")
