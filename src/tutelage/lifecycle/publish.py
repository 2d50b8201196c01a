"""A candidate as a folder that loads as a model: adapter or weights, prompt program, base.

    tutelage.json    {"base", "adapter", "messages", "rung", "fingerprint", "below", "seed",
                     "tuned_from"}
    adapter/         PEFT's own layout, where an adapter was tuned
    model/           Hugging Face's own layout, where all weights were tuned; "base" is then "model"

Knows the layout alone: `backends/local` opens it, `models.source` finds it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.errors import DamagedError
from tutelage.lm import Message
from tutelage.peft import METHODS

PROGRAM = "tutelage.json"


def program(
    base: str,
    method: str | None,
    messages: Sequence[Message],
    rung: str,
    fingerprint: str,
    below: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What `tutelage.json` says. `fingerprint` is the base's and `below` that of what an earlier
    run put on it, which the opener checks; weights that lie in the folder itself are known by its
    manifest instead. `seed` made a preset's weights."""
    whole = method is not None and not METHODS.get(method).adapter
    return {
        "base": "model" if whole else base,
        "adapter": "adapter" if method is not None and not whole else None,
        "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
        "rung": rung,
        "fingerprint": None if whole else fingerprint,
        "below": None if whole else below,
        "seed": seed,
        "tuned_from": None if method is None else base,
    }


def publish(folder: Path, described: dict[str, Any], artefact: Path | None) -> None:
    """Write the folder, whole or not at all; one that holds the same already stays."""
    if _holds(folder, described, artefact):
        return
    with store.new_folder(folder) as new:
        if artefact is not None:
            shutil.copytree(artefact, new / _part(described))
        store.write_json(new / PROGRAM, described)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _part(described: dict[str, Any]) -> str:
    """The subfolder of what was tuned."""
    return str(described["adapter"] or described["base"])


def _holds(folder: Path, described: dict[str, Any], artefact: Path | None) -> bool:
    try:
        files = store.verify(folder)["files"]
        same = store.read_json(folder / PROGRAM) == described
        manifest = None if artefact is None else store.read_json(artefact / store.MANIFEST)
    except (DamagedError, FileNotFoundError, KeyError):
        return False
    if not same or manifest is None:
        return same
    prefix = f"{_part(described)}/"
    held = {name.removeprefix(prefix): e for name, e in files.items() if name.startswith(prefix)}
    held.pop(store.MANIFEST, None)
    return bool(held == manifest["files"])
