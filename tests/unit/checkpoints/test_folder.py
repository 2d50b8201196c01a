"""Hugging Face folders: read as transformers writes them, confined, without pickle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.unit.checkpoints import tiny
from tutelage import store
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.hub import hub_folder
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.source import parse
from tutelage.errors import DamagedError, SourceError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change(file: Path, **values: Any) -> None:
    document = json.loads(file.read_text()) if file.exists() else {}
    document |= values
    file.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))


def test_weights_are_those_saved(folder: Path) -> None:
    model = tiny.tiny_llama()
    checkpoint = open_checkpoint(str(folder))
    state = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    assert set(checkpoint.weights) == set(state)
    for name, reader in checkpoint.weights.items():
        assert reader.shape == tuple(state[name].shape)
        assert reader.dtype == "float32"
        torch.testing.assert_close(reader.load(), state[name], rtol=0, atol=0)
    assert checkpoint.bytes == (folder / "model.safetensors").stat().st_size
    assert checkpoint.tokenizer.eos_ids == {tiny.TOKENIZER.eos_id}


def test_a_loaded_weight_is_a_copy(folder: Path) -> None:
    reader = folder_checkpoint(folder).weights["model.norm.weight"]
    before = reader.load().clone()
    reader.load().zero_()
    assert torch.equal(reader.load(), before)


def test_shards_are_one_model(tmp_path: Path, folder: Path) -> None:
    sharded = tiny.save_tiny(tmp_path / "shards", max_shard_size="20KB")
    checkpoint = folder_checkpoint(sharded)
    assert len(checkpoint.files) > 2
    whole = folder_checkpoint(folder)
    assert set(checkpoint.weights) == set(whole.weights)
    for name, reader in whole.weights.items():
        assert torch.equal(checkpoint.weights[name].load(), reader.load())


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# x", "apache-2.0"),
        ('---\nlicense: "llama3.2"\n---\n', "llama3.2"),
        ("---\ntags: [a]\n---\nlicense: mit\n", None),
        ("# license: mit", None),
        (None, None),
    ],
)
def test_the_licence_is_the_cards(card: str | None, licence: str | None, folder: Path) -> None:
    (folder / "README.md").unlink(missing_ok=True)
    if card is not None:
        (folder / "README.md").write_text(card)
    assert folder_checkpoint(folder).licence == licence


def test_templates_in_all_places(folder: Path) -> None:
    settings = folder / "tokenizer_config.json"
    change(settings, chat_template=[{"name": "tool", "template": "t"},
                                    {"name": "default", "template": "d"}])  # fmt: skip
    assert folder_checkpoint(folder).tokenizer.template == "d"
    change(settings, chat_template=None)
    assert folder_checkpoint(folder).tokenizer.template is None
    (folder / "chat_template.jinja").write_text("own file")
    assert folder_checkpoint(folder).tokenizer.template == "own file"


def test_end_tokens_of_all_files(folder: Path) -> None:
    change(folder / "generation_config.json", eos_token_id=[0, 5])
    assert folder_checkpoint(folder).tokenizer.eos_ids == {0, 5, tiny.TOKENIZER.eos_id}
    (folder / "generation_config.json").unlink()
    change(folder / "config.json", eos_token_id=7)
    change(folder / "tokenizer_config.json", eos_token={"content": "<|im_end|>"})
    assert folder_checkpoint(folder).tokenizer.eos_ids == {7, tiny.TOKENIZER.eos_id}


def test_the_fingerprint_follows_config_weights_and_tokenizer(folder: Path) -> None:
    seen = {folder_checkpoint(folder).fingerprint}
    assert folder_checkpoint(folder).fingerprint in seen
    change(folder / "config.json", rms_norm_eps=0.25)
    seen.add(folder_checkpoint(folder).fingerprint)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    seen.add(folder_checkpoint(folder).fingerprint)
    change(folder / "tokenizer_config.json", chat_template="other")
    seen.add(folder_checkpoint(folder).fingerprint)
    assert len(seen) == 4


def refused(folder: Path, message: str, hint: str | None = None) -> SourceError:
    with pytest.raises(SourceError, match=message) as caught:
        folder_checkpoint(folder)
    if hint is not None:
        assert hint in (caught.value.hint or "")
    return caught.value


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert refused(folder, name).field == str(folder / name)


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"]
)
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"3"])
def test_an_unreadable_file_is_named(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    refused(folder, name.replace(".", r"\."))


def test_a_config_that_says_nothing_is_not_told_as_missing(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    assert refused(folder, r"config\.json").got == "an empty object"


def test_pickles_are_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"model\.safetensors", hint="can run code")


def test_adapters_and_ggufs_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, r"config\.json", hint="--adapter")
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "x.gguf").write_bytes(b"")
    refused(tmp_path, r"config\.json", hint="x.gguf")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "a\\b", "sub/x", ""])
def test_an_index_cannot_leave_the_folder(name: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "sub" / "x")
    shutil.copy(folder / "model.safetensors", folder.parent / "model.safetensors")
    index = {"weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "cannot be opened")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_links_cannot_leave_the_folder(name: str, folder: Path) -> None:
    outside = folder.parent / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    refused(folder, name.replace(".", r"\."), hint="copy the file")


def test_the_hubs_cache_links_to_its_blobs(saved: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--owner--name"
    snapshot, blobs = repository / "snapshots" / ("c" * 40), repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    for file in saved.iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        checkpoint = open_checkpoint("hf:owner/name", cache=tmp_path)
        assert checkpoint.source == f"hf:owner/name@{'c' * 40}"
        assert checkpoint.weights["model.norm.weight"].load().shape == (32,)
        with pytest.raises(SourceError, match="no copy is on this machine") as caught:
            hub_folder(parse("hf:owner/other"), tmp_path)
        assert "hf download owner/other" in (caught.value.hint or "")


def test_a_cut_safetensors_file_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    for content in (data[: len(data) // 2], b"", b"\xff" * 8 + data[8:], data[:100]):
        file.write_bytes(content)
        refused(folder, r"model\.safetensors is not a readable")


def test_other_weights_than_floats_are_refused(folder: Path) -> None:
    save_file({"model.norm.weight": np.zeros(4, np.int8)}, folder / "model.safetensors")
    assert refused(folder, "type").got == "I8"


def test_quantized_models_and_foreign_tokenizers_are_refused(folder: Path) -> None:
    change(folder / "config.json", quantization_config={"quant_method": "gptq"})
    assert "gptq" in (refused(folder, r"config\.json").got or "")
    change(folder / "config.json", quantization_config=None, vocab_size=100)
    refused(folder, r"tokenizer\.json", hint="another model")


def test_a_manifest_is_checked(folder: Path) -> None:
    files = {f.name: {"bytes": f.stat().st_size, "sha256": store.sha256(f)}
             for f in folder.iterdir()}  # fmt: skip
    store.write_json(folder / store.MANIFEST, {"files": files})
    folder_checkpoint(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(DamagedError, match=r"model\.safetensors"):
        folder_checkpoint(folder)
