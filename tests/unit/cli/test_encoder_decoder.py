"""The verbs on encoder-decoders: the same objects as for any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_serve import process
from tests.unit.serve.serving import post
from tutelage.cli.main import run_command

TINY = ["t5-tiny", "flan-t5-tiny", "bart-tiny", "transformer-tiny"]
HERE = ["--device", "cpu", "--threads", "1", "--json", "--quiet"]


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_command([*arguments, *HERE])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def data(tmp_path: Path) -> str:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"say {n}", "completion": f"it is {n}"} for n in range(8)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


@pytest.mark.parametrize("name", TINY)
def test_generate(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = called(capsys, "generate", f"preset:{name}", "hello", "--max-new-tokens", "5")
    assert code == 0
    assert set(found) == {
        "text", "tokens", "finish_reason", "prompt_tokens", "completion_tokens", "seconds",
    }  # fmt: skip
    assert found["prompt_tokens"] == 6 and found["completion_tokens"] <= 5


@pytest.mark.parametrize(
    ("name", "parameters", "layers"),
    [
        ("t5-small", 60_506_624, 12),
        ("bart-base", 139_420_416, 12),
        ("transformer-base", 63_045_632, 12),
    ],
)
def test_show(name: str, parameters: int, layers: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = called(capsys, "model", "show", f"preset:{name}")
    assert code == 0 and found["family"] == "encoder-decoder"
    assert (found["parameters"], found["layers"]) == (parameters, layers)


@pytest.mark.parametrize("shots", ["0", "2"])
def test_eval(shots: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = called(
        capsys, "eval", "preset:t5-tiny", "--data", data, "--shots", shots, "--max-new-tokens", "4"
    )
    assert code == 0 and found["n"] == 8 - int(shots)
    assert found["refused"] == found["truncated"] == 0


@pytest.mark.parametrize("method", ["lora", "full"])
def test_tune_with_forgetting(
    method: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    code, found = called(
        capsys, "tune", "preset:t5-tiny", "--data", data, "--method", method, "--out", out,
        "--steps", "2",
    )  # fmt: skip
    assert code == 0 and found["rows"] == {"used": 8, "set_aside": 0}
    assert found["forgetting"]["low"] <= found["forgetting"]["value"] <= found["forgetting"]["high"]
    assert found["predicted_peak_bytes"] > 0
    model = ["preset:t5-tiny", "--adapter", out] if method == "lora" else [out]
    code, said = called(capsys, "generate", *model, "say 3", "--max-new-tokens", "4")
    assert code == 0 and said["prompt_tokens"] == 6


def test_plans_refuse_or_count(capsys: pytest.CaptureFixture[str]) -> None:
    def called(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run_command([*arguments, "--model", "preset:t5-small", "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, found = called("plan", "parameters")
    assert code == 0 and found["total"] == sum(found["parts"].values()) == 60_506_624
    assert found["parts"]["cross.q"] == 6 * 512 * 512
    for more in ([], ["--train"]):
        code, refused = called("plan", "memory", *more)
        assert code == 2 and refused["error"]["field"] == "--model"


def test_serve() -> None:
    with process("preset:t5-tiny", "--device", "cpu") as (_, line):
        asked = {"model": "model", "max_tokens": 5}
        turns = {"messages": [{"role": "user", "content": "hello"}]}
        told = [("chat/completions", turns), ("completions", {"prompt": "hello"})]
        for path, more in told:
            answer = post(f"{line['url']}/v1/{path}", json={**asked, **more})
            assert answer.status_code == 200, answer.text
            assert answer.json()["usage"]["prompt_tokens"] == 6
