"""`tutelage quantize` on tiny models: the object, the folder that every verb opens, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.train.rows import config, rows_of
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli.main import run_command
from tutelage.data.retention import retention
from tutelage.train.tune import tune

TINY = "preset:llama-tiny"


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = run_command([*map(str, arguments), "--json", "--quiet"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


@pytest.mark.parametrize(("bits", "most"), [(8, 10.0), (4, 8.5)])
def test_the_object_and_the_folder(
    bits: int, most: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "few"
    options = ["--bits", bits, "--out", out, "--texts", 4]
    code, found = called(capsys, "quantize", TINY, *options)
    assert code == 0 and found["out"] == str(out)
    assert bits < found["bits_per_weight"] < most
    assert found["bytes"] == sum(
        file.stat().st_size for file in out.iterdir() if file.name != "manifest.json"
    )
    assert 0 < found["kl"]["value"] < 0.05 and found["kl"]["low"] <= found["kl"]["value"]
    assert found["perplexity"]["before"] > 1 < found["perplexity"]["after"]
    assert 0.5 < found["top1_agreement"] <= 1
    kept = json.loads((out / "quantization.json").read_text())
    assert kept["kl"] == found["kl"] and kept["form"]["bits"] == bits
    code, again = called(capsys, "quantize", out, "--bits", 4, "--out", tmp_path / "x")
    assert code == 2 and again["error"]["field"] == "MODEL"
    code, shown = called(capsys, "model", "show", out)
    assert code == 0 and shown["dtype"] in ("4 bits", "8 bits")
    code, said = called(capsys, "generate", out, "a tree", "--max-new-tokens", 3)
    assert code == 0 and said["completion_tokens"] > 0


def test_tables_in_fewer_bits_are_smaller_and_their_loss_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for bits in (8, 4):
        out, options = tmp_path / f"tables-{bits}", ["--bits", 4, "--texts", 4]
        code, found[bits] = called(
            capsys, "quantize", TINY, *options, "--table-bits", bits, "--out", out
        )
        assert code == 0 and found[bits]["tables"]["bits"] == bits
        said = json.loads((out / "config.json").read_text())["quantization_config"]
        assert said["table_bits"] == bits
        code, answered = called(capsys, "generate", out, "a tree", "--max-new-tokens", 3)
        assert code == 0 and answered["completion_tokens"] > 0
    assert found[4]["bytes"] < found[8]["bytes"]
    assert found[4]["kl"]["value"] > found[8]["kl"]["value"]


def test_it_is_pulled_as_an_ordinary_wide_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = tmp_path / "few", tmp_path / "wide"
    called(capsys, "quantize", TINY, "--bits", 4, "--out", few, "--texts", 1)
    code, _ = called(capsys, "model", "pull", few, "--dtype", "fp32", "--out", out)
    narrow, wide = open_checkpoint(str(few)), open_checkpoint(str(out))
    assert code == 0 and "quantization_config" not in wide.config
    for name, reader in wide.weights.items():
        assert torch.equal(reader.load(), narrow.weights[name].load().float()), name


def test_what_is_measured_is_what_two_models_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rise of loss once more, through the seam, on the same tokens."""
    out = tmp_path / "few"
    _, found = called(capsys, "quantize", TINY, "--bits", 4, "--out", out, "--texts", 3)
    total = []
    for source in (TINY, str(out)):
        lm = LocalLM.open(source, dtype="fp32", threads=1, wide=True)
        tokenizer, context = lm.checkpoint.tokenizer, lm.reading.context
        nats = []
        for text in retention(n=3).texts:
            ids = tokenizer.encode_row(text)[:context]
            pairs = [(tokenizer.decode(ids[:8]), tokenizer.decode(ids[8:]))]
            nats.append(-lm.score(pairs)[0].log_probability)
        total.append(np.array(nats))
    rise = (total[1] - total[0]).sum() / found["tokens"]
    assert found["loss_rise"]["value"] == pytest.approx(rise, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--bits", 3], "--bits"),
        (["--bits", 4, "--group", 5], "--group"),
        (["--bits", 4, "--group", 4096], "--group"),
        (["--bits", 8, "--symmetric"], "--symmetric"),
        (["--bits", 8, "--table-bits", 4], "--table-bits"),
        (["--bits", 4, "--texts", 0], "--texts"),
    ],
)
def test_bad_settings_name_their_field(
    options: list[Any], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = called(capsys, "quantize", TINY, *options, "--out", tmp_path / "few")
    assert code == 2 and found["error"]["field"] == field
    assert not (tmp_path / "few").exists()


@pytest.mark.parametrize("method", ["qlora", "lora"])
def test_an_adapter_is_tuned_on_it_and_opened_on_it(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = tmp_path / "few", tmp_path / "adapter"
    called(capsys, "quantize", TINY, "--bits", 4, "--out", few, "--texts", 2)
    options = {"rank": 4}
    tune(str(few), rows_of(), config(method=method, options=options), out, device="cpu",
         dtype="fp32", threads=1)  # fmt: skip
    before = LocalLM.open(str(few), dtype="fp32", threads=1)
    after = LocalLM.open(str(few), adapter=out, dtype="fp32", threads=1)
    pairs = [("Backwards: red", " der")]
    assert before.score(pairs) != after.score(pairs)
    assert open_checkpoint(str(few)).config["quantization_config"]["bits"] == 4
