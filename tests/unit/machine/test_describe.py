from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tutelage.machine import describe


def test_commit_is_what_git_says(root: Path) -> None:
    found = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    describe.commit.cache_clear()
    assert describe.commit() == (found.stdout.strip() if found.returncode == 0 else None)


def test_an_installed_package_has_no_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even if it is installed somewhere inside somebody's repository."""
    (tmp_path / ".git").mkdir()
    place = tmp_path / "lib" / "site-packages" / "tutelage" / "machine" / "describe.py"
    monkeypatch.setattr(describe, "__file__", str(place))
    describe.commit.cache_clear()
    try:
        assert describe.commit() is None
    finally:
        describe.commit.cache_clear()


def test_versions() -> None:
    assert describe.package_version("torch")
    assert describe.package_version("no-such-package-at-all") is None


def test_processor_and_cores() -> None:
    assert describe.processor()
    assert describe.cores() >= 1
