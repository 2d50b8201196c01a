"""Keys are read from files, and no fault in one shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.backends.key import read_key
from tutelage.errors import ConfigError


def test_white_space_around_the_key_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n sk-secret\r\n\n")
    assert read_key(path) == "sk-secret"


@pytest.mark.parametrize("data", [b"", b" \n", b"sk-se\ncret", b"sk se", b"sk\xe9", b"k" * 5000])
def test_a_bad_key_is_refused_and_not_shown(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_key(path)
    assert "sk" not in str(caught.value).replace(str(path), "")
    assert "kkk" not in str(caught.value)
    assert caught.value.field == "--api-key-file"


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        read_key(tmp_path / "missing")
