"""Data sets of the hub as a stream, with the hub's library replaced: no network in tests."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants

from tutelage.corpus.documents import Document
from tutelage.corpus.sources import open_source
from tutelage.errors import DataError

COMMIT = "0123456789abcdef"


class Hub:
    """Answers like the hub's file system for one data set in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[str] = []
        self.failure: Exception | None = None

    def dataset_info(self, name: str, revision: str | None) -> Any:
        if self.failure:
            raise self.failure
        assert name == "owner/name" and revision in (None, "v1")
        return SimpleNamespace(sha=COMMIT)

    def find(self, root: str) -> list[str]:
        base = f"datasets/owner/name@{COMMIT}"
        assert root.startswith(base)
        below = self.folder / root.removeprefix(base).strip("/")
        files = [below] if below.is_file() else below.rglob("*")
        return [f"{base}/{f.relative_to(self.folder)}" for f in files if f.is_file()]

    def open(self, path: str, mode: str, block_size: int) -> Any:
        self.opened.append(path)
        if self.failure:
            raise self.failure
        return (self.folder / path.split(f"{COMMIT}/")[1]).open("rb")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
    (tmp_path / "data" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Three."}\n'))
    (tmp_path / "load.py").write_text("raise SystemExit")
    hub = Hub(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", lambda: hub)
    return hub


def texts(name: str) -> list[str]:
    return [one.text for one in open_source(name) if isinstance(one, Document)]


def test_files_are_opened_when_they_are_reached(hub: Hub) -> None:
    source = open_source("hf:owner/name@v1")
    assert hub.opened == [] and COMMIT in source.notes[0]
    stream = iter(source)
    next(stream)
    assert len(hub.opened) == 1, "the second file has not been asked for"
    assert [one.text for one in stream if isinstance(one, Document)] == ["Two.", "Three."]


@pytest.mark.parametrize(
    ("below", "expected"),
    [("", ["One.", "Two.", "Three."]), ("/data/", ["One.", "Two.", "Three."]),
     ("/data/b.jsonl.gz", ["Three."])],
)  # fmt: skip
def test_a_folder_or_a_file_can_be_named(hub: Hub, below: str, expected: list[str]) -> None:
    assert texts(f"hf:owner/name{below}") == expected


def test_identity_names_the_commit(hub: Hub) -> None:
    files = open_source("hf:owner/name").identity()["files"]
    assert [COMMIT[:12] in path for _, path in files] == [True, True]


def test_failures_name_the_source(hub: Hub) -> None:
    with pytest.raises(DataError, match="not a data set"):
        open_source("hf:nobody")
    stream = iter(open_source("hf:owner/name"))
    next(stream)
    hub.failure = httpx2.ConnectError("no route")
    with pytest.raises(DataError) as caught:
        list(stream)
    assert "b.jsonl" in str(caught.value.field)
    with pytest.raises(DataError, match="no route"):
        open_source("hf:owner/name")


def test_a_damaged_file_is_said_to_be_damaged(hub: Hub) -> None:
    (hub.folder / "data" / "b.jsonl.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="damaged"):
        texts("hf:owner/name")


def test_without_a_network_the_cache_is_read(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: str(hub.folder))
    assert texts("hf:owner/name") == ["One.", "Two.", "Three."] and hub.opened == []
