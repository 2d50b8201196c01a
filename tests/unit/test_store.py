"""Folders with a manifest: whatever is wrong with them is damage that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage import store
from tutelage.errors import DamagedError
from tutelage.peft.layout import CONFIG, read_config

ENTRY = {"bytes": 2, "sha256": "0" * 64}
WRONG: list[Any] = [
    {},
    [],
    None,
    "text",
    {"files": None},
    {"files": [CONFIG]},
    {"files": {CONFIG: None}},
    {"files": {CONFIG: [2]}},
    {"files": {CONFIG: {"bytes": 2}}},
    {"files": {CONFIG: {"sha256": "0" * 64}}},
    {"files": {CONFIG: {**ENTRY, "bytes": "2"}}},
    {"files": {CONFIG: {**ENTRY, "sha256": 5}}},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with store.new_folder(tmp_path / "made") as inside:
        store.write_text(inside / CONFIG, "{}")
    return tmp_path / "made"


@pytest.mark.parametrize("manifest", WRONG, ids=json.dumps)
def test_a_manifest_of_another_structure_is_damage(folder: Path, manifest: Any) -> None:
    assert store.verify(folder)["files"].keys() == {CONFIG}
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    for check in (store.verify, read_config):
        with pytest.raises(DamagedError) as caught:
            check(folder)
        assert caught.value.field == str(folder / store.MANIFEST)


def test_a_fingerprint_is_of_what_a_file_holds(tmp_path: Path) -> None:
    file, copy = tmp_path / "a", tmp_path / "b"
    content = bytes(range(256)) * 40
    for path in (file, copy):
        path.write_bytes(content)
    for asked in ({}, {"pieces": 5, "piece": 100}):
        before = store.fingerprint(file, **asked)
        assert before == store.fingerprint(copy, **asked) and before[0] == len(content)
        for place in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 1
            copy.write_bytes(changed)
            assert store.fingerprint(copy, **asked) != before, place
            copy.write_bytes(content)
        copy.write_bytes(content + b"x")
        assert store.fingerprint(copy, **asked) != before
        copy.write_bytes(content)
