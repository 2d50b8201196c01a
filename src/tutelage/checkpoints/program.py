"""What a source stands for: a base model, and for a run what its recommended candidate puts on top.

A run publishes `model/tutelage.json`: base, adapter, few-shot turns and the base's fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tutelage import store
from tutelage.checkpoints.source import parse
from tutelage.errors import SourceError
from tutelage.lm import Message

FILE = "tutelage.json"


@dataclass(frozen=True)
class Program:
    """A base, an adapter on it, turns before every conversation. `fingerprint` is the base's when
    the program was made, None where nobody recorded it."""

    base: str
    adapter: Path | None = None
    messages: tuple[Message, ...] = ()
    fingerprint: str | None = None


def program_of(source: str) -> Program:
    """Follow a run to what it recommends; any other source stands for itself.

    Raises SourceError for a run that recommends nothing yet.
    """
    found = parse(source)
    if found.kind not in ("run", "folder"):
        return Program(source)
    path = found.located / FILE
    if not path.is_file():
        if found.kind == "folder":
            return Program(source)
        raise SourceError(f"{source} recommends no model yet", field=str(path))
    raw = store.read_json(path)
    if "messages" not in raw:  # what `tutelage tune` leaves beside a model: not a program
        return Program(source)
    base = str(found.located / "model") if raw.get("base") == "model" else str(raw["base"])
    adapter = found.located / raw["adapter"] if raw.get("adapter") else None
    messages = tuple(Message(turn["role"], turn["content"]) for turn in raw["messages"])
    return Program(base, adapter, messages, raw.get("fingerprint"))
