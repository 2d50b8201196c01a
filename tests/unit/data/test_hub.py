"""Data sets of the hub, with the hub's library replaced: no network in tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from tutelage.data.hub import MAX_BYTES
from tutelage.data.load import load
from tutelage.errors import DataError


class Hub:
    """Answers like the hub for one data set in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 100
        self.asked: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def dataset_info(self, repo: str, revision: str | None, files_metadata: bool) -> Any:
        if self.failure:
            raise self.failure
        files = [("data/a.jsonl", self.bytes), ("model.bin", 10**12)]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=n, size=s) for n, s in files])

    def snapshot_download(self, repo: str, **options: Any) -> str:
        self.asked.append({"repo": repo, **options})
        if self.failure:
            raise self.failure
        return str(self.folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    folder = tmp_path / "abc123"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.jsonl").write_text('{"text": "hello"}\n')
    hub = Hub(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_files_of_the_revision_are_read_and_code_is_not(hub: Hub) -> None:
    loaded = load("hf:owner/name@v1.0")
    assert [row.text for row in loaded.rows] == ["hello"]
    (asked,) = hub.asked
    assert (asked["repo"], asked["revision"], asked["repo_type"]) == (
        "owner/name",
        "v1.0",
        "dataset",
    )
    assert not any("py" in pattern for pattern in asked["allow_patterns"])
    assert "abc123" in loaded.notes[0]


def test_too_large_a_set_is_refused_before_any_download(hub: Hub) -> None:
    hub.bytes = MAX_BYTES + 1
    with pytest.raises(DataError, match="too large"):
        load("hf:owner/name")
    assert hub.asked == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ConnectError("no route to host"),
        errors.LocalEntryNotFoundError("not cached"),
        errors.OfflineModeIsEnabled("offline"),
        errors.HFValidationError("bad name"),
    ],
)
def test_without_network_or_set_it_says_what_to_do(hub: Hub, failure: Exception) -> None:
    hub.failure = failure
    with pytest.raises(DataError) as caught:
        load("hf:owner/name@main")
    assert caught.value.field == "hf:owner/name@main"
    assert str(failure) in caught.value.message
    assert "hf download --repo-type dataset owner/name" in (caught.value.hint or "")


def test_a_folder_of_the_set_is_downloaded_alone(hub: Hub) -> None:
    assert len(load("hf:owner/name@refs/convert/parquet/data").rows) == 1
    (asked,) = hub.asked
    assert asked["revision"] == "refs/convert/parquet"
    assert all(pattern.startswith("data/*") for pattern in asked["allow_patterns"])
    with pytest.raises(DataError, match="no data there"):
        load("hf:owner/name/other")


def test_offline_uses_the_cache_without_asking_for_sizes(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.bytes = MAX_BYTES + 1
    assert len(load("hf:owner/name").rows) == 1


@pytest.mark.parametrize("source", ["hf:", "hf:name", "hf:a/b@", "hf:../etc/x y"])
def test_malformed_names_are_refused(source: str) -> None:
    with pytest.raises(DataError, match="not a data set of the hub"):
        load(source)
