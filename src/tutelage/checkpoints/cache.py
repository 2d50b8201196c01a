"""Where downloads and what was found out about big files are kept: the XDG cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tutelage.errors import WorkError


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/tutelage`, by default `~/.cache/tutelage` (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    return base / "tutelage"


def writable(cache: Path) -> Path:
    """The folder, made if it is not there. Raises WorkError where nothing can be kept in it, which
    is better known before a download than after."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return cache
    except OSError as error:
        raise WorkError(
            f"cannot keep downloads in {cache}: {error.strerror}",
            field=str(cache),
            expected="a folder that can be written",
            hint="set XDG_CACHE_HOME to one",
        ) from error
