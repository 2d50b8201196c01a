"""Where downloads and what was found out about big files are kept: the XDG cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/tutelage`, by default `~/.cache/tutelage` (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    return base / "tutelage"
