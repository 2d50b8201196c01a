"""What a run publishes, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage import store


def published(folder: Path, **program: Any) -> Path:
    """A recommended candidate's folder, as `tutelage run` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    store.write_json(folder / "tutelage.json", {"messages": [], "adapter": None, **program})
    return folder


def run_folder(folder: Path, **program: Any) -> Path:
    """A run that recommends this."""
    published(folder / "model", **program)
    store.write_json(folder / "record.json", {})
    return folder
