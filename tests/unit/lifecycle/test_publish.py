"""The published model: its layout for prompts, adapters and whole models, and that it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.lifecycle.fakes import turns
from tutelage import store
from tutelage.lifecycle.publish import program, publish, size


def artefact(folder: Path, text: str = "weights") -> Path:
    with store.new_folder(folder) as new:
        (new / "weights.bin").write_text(text)
        (new / "tutelage.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("method", "part", "base"), [("lora", "adapter", "hf:a/b"), ("full", "model", "model")]
)
def test_what_was_tuned_lies_in_its_own_folder(
    tmp_path: Path, method: str, part: str, base: str
) -> None:
    source = artefact(tmp_path / "made")
    described = program("hf:a/b", method, turns("q", "a"), "rung", "print", "run")
    publish(tmp_path / "model", described, source)
    written = store.read_json(tmp_path / "model" / "tutelage.json")
    assert written["base"] == base and written["tuned_from"] == "hf:a/b"
    assert written["adapter"] == ("adapter" if method == "lora" else None)
    assert written["fingerprint"] == ("print" if method == "lora" else None)
    assert written["below"] == ("run" if method == "lora" else None)
    assert (tmp_path / "model" / part / "weights.bin").read_text() == "weights"
    store.verify(tmp_path / "model")
    store.verify(tmp_path / "model" / part)


def test_the_same_is_not_written_again_and_another_is(tmp_path: Path) -> None:
    source, folder = artefact(tmp_path / "made"), tmp_path / "model"
    described = program("hf:a/b", "lora", (), "lora", "print")
    publish(folder, described, source)
    stamp = (folder / store.MANIFEST).stat().st_mtime_ns
    publish(folder, described, source)
    assert (folder / store.MANIFEST).stat().st_mtime_ns == stamp
    publish(folder, described, artefact(tmp_path / "other", "better"))
    assert (folder / "adapter" / "weights.bin").read_text() == "better"
    publish(folder, program("hf:a/b", None, turns("q", "a"), "one-shot", "print"), None)
    assert not (folder / "adapter").exists()
    assert store.read_json(folder / "tutelage.json")["messages"][1]["content"] == "a"


def test_a_damaged_one_is_written_again(tmp_path: Path) -> None:
    source, folder = artefact(tmp_path / "made"), tmp_path / "model"
    described = program("hf:a/b", "lora", (), "lora", "print")
    publish(folder, described, source)
    (folder / "adapter" / "weights.bin").write_text("wrongly")
    publish(folder, described, source)
    assert (folder / "adapter" / "weights.bin").read_text() == "weights"


def test_size_counts_all_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "deep" / "b").write_bytes(b"4567")
    assert size(tmp_path) == 7
