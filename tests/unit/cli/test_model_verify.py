"""`model verify`: planted defects are named, copies are equal, other models are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tutelage import store
from tutelage.cli.main import run_command

TINY = "preset:llama-tiny"
Q = "model.layers.1.self_attn.q_proj.weight"
FP32 = ("--threads", "1", "--quiet")


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = run_command([*map(str, arguments), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model as a folder, files of two types, and in few bits."""
    top = tmp_path_factory.mktemp("copies")
    for words in (
        ["model", "pull", TINY, "--out", str(top / "folder")],
        ["model", "export", TINY, "--to", "gguf", "--type", "f32", "--out", str(top / "a.gguf")],
        ["model", "export", TINY, "--to", "gguf", "--type", "f16", "--out", str(top / "b.gguf")],
        ["quantize", TINY, "--bits", "8", "--texts", "1", "--out", str(top / "few")],
    ):
        assert run_command([*words, "--quiet"]) == 0
    return {name: top / name for name in ("folder", "a.gguf", "b.gguf", "few")}


@pytest.mark.parametrize("name", ["folder", "a.gguf", "few"])
def test_a_whole_model_is_sound(
    name: str, copies: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = called(capsys, "model", "verify", copies[name], *FP32)
    assert code == 0 and found["sound"] and found["defects"] == []
    assert set(found["checks"]) == {
        "files", "weights", "numbers", "tokenizer", "template", "answer",
    }  # fmt: skip


def test_an_encoder_is_asked_for_a_vector(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = called(capsys, "model", "verify", "preset:bert-tiny", *FP32)
    assert code == 0 and "vector" in found["checks"]["answer"]


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def planted(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return planted


def settings(name: str, **changes: Any) -> Callable[[Path], None]:
    def planted(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return planted


def flipped(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-40] ^= 4
    file.write_bytes(bytes(data))


PLANTED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "not a number": (weights(lambda t: t[Q].view(-1)[3].fill_(float("nan"))), "numbers", Q),
    "an infinite one": (weights(lambda t: t[Q].view(-1)[3].fill_(float("inf"))), "numbers", Q),
    "a weight missing": (weights(lambda t: t.pop(Q)), "weights", Q),
    "a weight cut": (weights(lambda t: t.update({Q: t[Q][1:].clone()})), "weights", Q),
    "a weight too many": (
        weights(lambda t: t.update({"model.extra.weight": torch.zeros(3)})),
        "weights", "model.extra.weight",
    ),
    "layers that are not there": (settings("config.json", num_hidden_layers=3), "weights", ""),
    "a template that fails": (
        settings("tokenizer_config.json", chat_template="{{ raise_exception('no') }}"),
        "template", "",
    ),
    "a template of nothing": (
        settings("tokenizer_config.json", chat_template="{# #}"), "template", "chat_template",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "files", ""),
    "a file cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-5]
        ),
        "files", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_named(
    name: str, copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, check, field = PLANTED[name]
    bad = shutil.copytree(copies["folder"], tmp_path / "bad")
    (bad / store.MANIFEST).unlink()
    plant(bad)
    code, found = called(capsys, "model", "verify", bad, *FP32)
    assert code == 1 and not found["sound"]
    assert found["defects"][0]["check"] == check, found["defects"]
    assert field in str(found["defects"][0]["field"]) and found["defects"][0]["message"]


def test_a_flipped_bit_is_seen_by_its_hash(
    copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = shutil.copytree(copies["folder"], tmp_path / "bad")
    flipped(bad)
    code, found = called(capsys, "model", "verify", bad, *FP32)
    assert code == 1 and found["defects"][0]["check"] == "files"
    assert "model.safetensors" in found["defects"][0]["field"]


@pytest.mark.parametrize(("name", "most"), [("folder", 0.0), ("a.gguf", 0.0), ("b.gguf", 1e-4)])
def test_copies_are_equal(
    name: str, most: float, copies: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = called(capsys, "model", "verify", TINY, copies[name], *FP32)
    assert code == 0 and found["equal"] and found["kl"] <= most and found["n"] > 10
    assert found["text_agreement"] >= (1.0 if most == 0 else 0.5)


def test_another_model_is_not(
    copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert run_command(["model", "pull", TINY, "--seed", "9", "--out", str(other), "--quiet"]) == 0
    capsys.readouterr()
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a tree is", "completion": "green"}\n')
    code, found = called(
        capsys, "model", "verify", copies["folder"], other, "--prompts", rows, *FP32
    )
    assert code == 1 and not found["equal"] and found["n"] == 1
    assert found["max_logit_difference"] > 0.01 and found["kl"] > found["bound"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ([TINY, "--prompts", "x.jsonl"], "--prompts"),
        (["scripted:{}"], "MODEL"),
        ([TINY, "preset:t5-tiny"], "MODEL"),
        (["no/such/folder"], "model"),
    ],
)
def test_bad_requests_name_their_field(
    words: list[str], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": ".", "reply": "a"}\n')
    code, found = called(capsys, "model", "verify", *(w.format(script) for w in words), *FP32)
    assert code == 2 and found["error"]["field"] == field
