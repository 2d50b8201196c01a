"""`model merge`, `unmerge`, `combine`, `extract` on a tiny model, against the adapter beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.rows import SOURCE, config, rows_of, tuned
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli import model_adapters
from tutelage.cli.main import run_command
from tutelage.lm import Request
from tutelage.peft.extract import nearest
from tutelage.train.tune import tune

PROMPTS = ["Backwards: red", "a tree is"]
FP32 = ["--dtype", "fp32"]
WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of several kinds, each far from where it starts."""
    found = {}
    for name, method, options in (
        ("lora", "lora", {"rank": 4}),
        ("other", "lora", {"rank": 2, "roles": ("mlp.up",)}),
        ("ia3", "ia3", {}),
        ("qlora", "qlora", {"rank": 4}),
        ("prompt", "prompt-tuning", {"tokens": 3}),
        ("table", "lora", {"roles": ("embed",)}),
        ("last", "last-layers", {"last": 1}),
    ):
        found[name] = tmp_path_factory.mktemp("adapters") / name
        rate = 0.5 if method == "ia3" else 0.05
        settings = config(method=method, options=options, learning_rate=rate)
        tuned(found[name], settings)
    return found


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = run_command(["model", *map(str, arguments), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def answers(source: object, adapter: Path | None = None) -> list[str]:
    lm = LocalLM.open(str(source), adapter=adapter, device="cpu", dtype="fp32", threads=1)
    events = lm.generate([Request(prompt, 12) for prompt in PROMPTS])
    texts = {e.index: e.text for e in events if hasattr(e, "finish_reason")}
    return [texts[place] for place in sorted(texts)]


@pytest.mark.parametrize("name", ["lora", "ia3", "qlora", "last"])
def test_a_merged_folder_answers_as_the_adapter_does(
    name: str, adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    code, found = called(capsys, "merge", SOURCE, "--adapter", adapters[name], "--out", out, *FP32)
    assert code == 0 and found["out"] == str(out) and found["bytes"] > 0
    assert found["agreement"]["max_logit_difference"] < 1e-4 and found["agreement"]["n"] > 100
    assert found["quantized"] == ({"bits": 4, "group": 32} if name == "qlora" else None)
    assert answers(out) == answers(SOURCE, adapters[name]) != answers(SOURCE)


def test_rounding_is_measured_and_too_much_of_it_refused(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = ["merge", SOURCE, "--adapter", adapters["lora"], "--dtype", "bf16", "--out"]
    code, found = called(capsys, *given, tmp_path / "half")
    assert code == 0 and found["dtype"] == "bfloat16"
    assert 1e-4 < found["agreement"]["max_logit_difference"] < 1
    monkeypatch.setattr(model_adapters, "FARTHEST", found["agreement"]["kl"] / 2)
    code, refused = called(capsys, *given, tmp_path / "again")
    assert code == 1 and refused["error"]["field"] == "kl" and "fp32" in refused["error"]["hint"]
    assert not (tmp_path / "again").exists()


def test_unmerging_gives_the_base_bit_for_bit(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "adapter"
    shutil.copytree(adapters["lora"], mine)
    called(capsys, "merge", SOURCE, "--adapter", mine, "--out", tmp_path / "merged")
    code, found = called(capsys, "unmerge", tmp_path / "merged", "--out", tmp_path / "base")
    assert code == 0 and found["checked"] is True
    called(capsys, "pull", SOURCE, "--out", tmp_path / "pulled")
    base, pulled = (tmp_path / name / "model.safetensors" for name in ("base", "pulled"))
    assert base.read_bytes() == pulled.read_bytes()
    shutil.rmtree(mine)
    code, found = called(capsys, "unmerge", tmp_path / "merged", "--out", tmp_path / "again")
    assert code == 0 and found["checked"] is None and found["reason"]
    shutil.copytree(adapters["other"], mine)
    code, found = called(capsys, "unmerge", tmp_path / "merged", "--out", tmp_path / "third")
    assert code == 1 and "adapters have changed" in found["error"]["hint"]
    code, found = called(capsys, "unmerge", tmp_path / "pulled", "--out", tmp_path / "fourth")
    assert code == 2 and found["error"]["field"].endswith("merged.json")


def state(folder: Path) -> dict[str, torch.Tensor]:
    return {name: weight.load() for name, weight in open_checkpoint(str(folder)).weights.items()}


def test_sums_of_adapters(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Combined first or merged at once; and what is added and subtracted is gone."""
    first, second = adapters["lora"], adapters["other"]
    terms = ["--adapter", f"{first}=0.5", "--adapter", f"{second}=-2"]
    assert called(capsys, "combine", *terms, "--out", tmp_path / "sum")[0] == 0
    called(capsys, "merge", SOURCE, *terms, "--out", tmp_path / "at-once", *FP32)
    one = ["--adapter", tmp_path / "sum"]
    called(capsys, "merge", SOURCE, *one, "--out", tmp_path / "later", *FP32)
    at_once, later = state(tmp_path / "at-once"), state(tmp_path / "later")
    assert all(torch.equal(value, later[name]) for name, value in at_once.items())
    nothing = ["--adapter", first, "--adapter", f"{first}=-1"]
    called(capsys, "merge", SOURCE, *nothing, "--out", tmp_path / "nothing", *FP32)
    called(capsys, "pull", SOURCE, "--out", tmp_path / "base")
    base = state(tmp_path / "base")
    near = state(tmp_path / "nothing").items()
    assert all(torch.allclose(value, base[name], atol=1e-6) for name, value in near)


def test_an_update_of_a_merged_base_adds_to_it(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tuned further on the merged folder: the second adapter fits that folder alone, and both
    together are the merged folder of both."""
    called(capsys, "merge", SOURCE, "--adapter", adapters["lora"], "--out", tmp_path / "m", *FP32)
    options = config(options={"rank": 2}, learning_rate=0.05)
    tune(str(tmp_path / "m"), rows_of(), options, tmp_path / "more", **WHERE)
    code, found = called(
        capsys, "merge", SOURCE, "--adapter", tmp_path / "more", "--out", tmp_path / "x"
    )
    assert code == 2 and "another model" in found["error"]["message"]
    code, found = called(
        capsys, "merge", tmp_path / "m", "--adapter", tmp_path / "more", "--out",
        tmp_path / "both", *FP32,
    )  # fmt: skip
    assert code == 0
    assert answers(tmp_path / "both") == answers(tmp_path / "m", tmp_path / "more")


def test_what_was_merged_is_extracted_again(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "merge", SOURCE, "--adapter", adapters["lora"], "--out", tmp_path / "m", *FP32)
    pair = [SOURCE, tmp_path / "m"]
    code, found = called(capsys, "extract", *pair, "--rank", 4, "--out", tmp_path / "four")
    assert code == 0 and found["kept"] > 0.999999 and found["left_out"] == []
    assert found["agreement"]["max_logit_difference"] < 1e-4
    assert answers(SOURCE, tmp_path / "four") == answers(tmp_path / "m")
    _, less = called(capsys, "extract", *pair, "--rank", 1, "--out", tmp_path / "one")
    assert 0.2 < less["kept"] < 0.99 and less["parameters"] * 4 == found["parameters"]
    _, part = called(
        capsys, "extract", *pair, "--rank", 4, "--role", "mlp.up", "--out", tmp_path / "up"
    )
    assert part["kept"] > 0.999999 and len(part["left_out"]) == 6 * 2


def test_the_best_of_its_rank(tmp_path: Path) -> None:
    """Against all singular vectors, tall and wide."""
    for shape in ((40, 24), (24, 40)):
        change = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        up, down = nearest(change, 5)
        u, s, v = torch.linalg.svd(change.double())
        best = (u[:, :5] * s[:5]) @ v[:5]
        assert up.shape == (shape[0], 5) and down.shape == (5, shape[1])
        assert (up @ down - best.float()).abs().max() < 1e-5


def test_what_cannot_be_done_is_said(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "out"]
    for arguments, field, words in (
        (["merge", SOURCE, *out], "--adapter", "no adapter"),
        (["merge", SOURCE, "--adapter", tmp_path / "none", *out], "--adapter", "cannot read"),
        (["merge", SOURCE, "--adapter", f"{adapters['lora']}=x", *out], "--adapter", "cannot read"),
        (["merge", SOURCE, "--adapter", adapters["prompt"], *out], "--adapter", "no change of"),
        (["combine", "--adapter", adapters["lora"], "--out", tmp_path], "--out", "exists"),
        (["extract", SOURCE, SOURCE, *out], "TUNED", "same linear maps"),
        (["extract", SOURCE, "preset:gpt2-tiny", *out], "TUNED", "different shapes"),
        (["extract", SOURCE, SOURCE, "--rank", 999, *out], "--rank", "rank"),
    ):
        code, found = called(capsys, *arguments)
        assert code == 2 and found["error"]["field"] == field, arguments
        assert words in found["error"]["message"]
    code, found = called(
        capsys, "combine", "--adapter", adapters["lora"], "--adapter", adapters["ia3"], *out
    )
    assert code == 2 and "another kind" in found["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_the_head_too_is_not_merged(
    adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["merge", SOURCE, "--adapter", adapters["table"], "--out", tmp_path / "out"]
    code, found = called(capsys, *given)
    assert code == 2 and "the head's too" in found["error"]["message"]
    assert not (tmp_path / "out").exists()
