"""`model show` against transformers' own reading, `model pull` opened by transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from tutelage.cli.main import run_command
from tutelage.cli.model import pull, show
from tutelage.cli.shared import Shared
from tutelage.errors import RequestError, SourceError, UnknownName

TINY = "preset:llama-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pulled") / "tiny"
    pull(TINY, out=out, shared=Shared(seed=5))
    return out


def test_a_pulled_model_is_one_transformers_opens(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = show(str(folder))
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    config = model.config
    assert found["architecture"] == type(model).__name__
    assert (found["layers"], found["width"]) == (config.num_hidden_layers, config.hidden_size)
    assert (found["heads"], found["kv_heads"]) == (
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    assert found["vocabulary"] == config.vocab_size
    assert found["context"] == config.max_position_embeddings
    assert found["dtype"] == "float32"
    assert found["bytes"] >= 4 * found["parameters"]


def test_what_pull_reports_is_what_lies_there(folder: Path, tmp_path: Path) -> None:
    again = pull(TINY, out=tmp_path / "again", shared=Shared(seed=5))
    other = pull(TINY, out=tmp_path / "other", shared=Shared(seed=6))
    files = [f for f in (tmp_path / "again").rglob("*") if f.is_file()]
    assert again["bytes"] == sum(f.stat().st_size for f in files if f.name != "manifest.json")
    assert again["sha256"] != other["sha256"]
    same = pull(TINY, out=tmp_path / "same", shared=Shared(seed=5))
    assert same["sha256"] == again["sha256"]
    one, two = (p / "model.safetensors" for p in (folder, tmp_path / "again"))
    assert one.read_bytes() == two.read_bytes()


def test_pull_does_not_overwrite_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(RequestError, match="exists"):
        pull(TINY, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_sources_without_weights_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "replies.jsonl"
    script.write_text('{"match": ".*", "reply": "yes"}\n', encoding="utf-8")
    for source in (f"scripted:{script}", "http://127.0.0.1:9/v1#m"):
        with pytest.raises(SourceError, match="no weights"):
            show(source)
    with pytest.raises(UnknownName):
        show("preset:llama-tinny")


def test_the_verbs_print(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["model", "show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "decoder"
    assert run_command(["model", "pull", TINY, "--out", str(tmp_path / "x")]) == 0
    assert "sha256" in capsys.readouterr().out
