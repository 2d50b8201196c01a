"""A candidate as a folder that loads as a model: adapter or weights, prompt program, base.

    tutelage.json    {"base", "adapter", "messages", "rung", "fingerprint"}
    adapter/         PEFT's own layout, where an adapter was tuned

A fully tuned model's own files lie in the folder itself. Knows the layout alone: `backends/` opens
it, `models.source` finds it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.errors import DamagedError
from tutelage.lm import Message

PROGRAM = "tutelage.json"


def program(
    base: str, method: str | None, messages: Sequence[Message], rung: str, fingerprint: str
) -> dict[str, Any]:
    """What `tutelage.json` says. `base` "." means the weights beside it."""
    return {
        "base": "." if method == "full" else base,
        "adapter": "adapter" if method not in (None, "full") else None,
        "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
        "rung": rung,
        "fingerprint": fingerprint,
    }


def publish(folder: Path, described: dict[str, Any], artefact: Path | None) -> None:
    """Write the folder, whole or not at all; one that holds the same already stays."""
    if _holds(folder, described, artefact):
        return
    with store.new_folder(folder) as new:
        if artefact is not None:
            shutil.copytree(
                artefact,
                new / described["adapter"] if described["adapter"] else new,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(store.MANIFEST),
            )
        store.write_json(new / PROGRAM, described)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _holds(folder: Path, described: dict[str, Any], artefact: Path | None) -> bool:
    try:
        files = store.verify(folder)["files"]
        same = store.read_json(folder / PROGRAM) == described
        wanted = {} if artefact is None else store.read_json(artefact / store.MANIFEST)["files"]
    except (DamagedError, FileNotFoundError, KeyError):
        return False
    prefix = f"{described['adapter']}/" if described["adapter"] else ""
    weights = {prefix + name: entry for name, entry in wanted.items()}
    # A tuned model brings a file of this name too: how it was tuned; here it says how it answers.
    weights.pop(PROGRAM, None)
    return same and {name: e for name, e in files.items() if name != PROGRAM} == weights
