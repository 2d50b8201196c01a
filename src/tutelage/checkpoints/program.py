"""What a source stands for: a base model, and for a run what its recommended candidate puts on top.

A run publishes `model/tutelage.json`: base, adapter, few-shot turns, the base's fingerprint, and
the seed that made it where its weights are random. The base may be a run in turn; then the print of
what that run put on top is there too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage import store
from tutelage.checkpoints.source import Source, parse
from tutelage.errors import DamagedError, GuardError, SourceError

if TYPE_CHECKING:
    from tutelage.lm import Message

FILE = "tutelage.json"


@dataclass(frozen=True)
class Program:
    """A base that stands for itself, an adapter on it, turns before every conversation.

    `fingerprint` is the base's when the program was made, `seed` the one its weights were made
    from; None where nobody recorded it."""

    base: str
    adapter: Path | None = None
    messages: tuple[Message, ...] = ()
    fingerprint: str | None = None
    seed: int | None = None

    @property
    def on_top(self) -> str | None:
        """Print of the adapter and the turns, None where there are none: with the base's all that
        answers follow from. Raises DamagedError for an adapter without its manifest."""
        if self.adapter is None and not self.messages:
            return None
        turns = [[turn.role, turn.content] for turn in self.messages]
        adapter = None if self.adapter is None else _manifest_of(self.adapter)
        return store.digest({"adapter": adapter, "messages": turns})


def program_of(source: str) -> Program:
    """Follow a run to what it recommends; any other source stands for itself.

    Raises SourceError for a run that recommends nothing yet, DamagedError for one that does not
    say what, GuardError for one made from a run that has been made anew since.
    """
    found = parse(source)
    raw = _published(found)
    if raw is None:
        return Program(source)
    from tutelage.lm import Message

    try:
        base = str(raw["base"])
        messages = tuple(Message(turn["role"], turn["content"]) for turn in raw["messages"])
        adapter = found.located / raw["adapter"] if raw.get("adapter") else None
    except (KeyError, TypeError) as error:
        raise DamagedError(
            f"{found.located / FILE} does not say what {source} recommends",
            field=str(found.located / FILE),
            got=f"{type(error).__name__}: {error}",
            expected='{"base", "adapter", "messages", ...}',
        ) from None
    below = Program(str(found.located / base)) if base == "model" else program_of(base)
    if "below" in raw and raw["below"] != below.on_top:
        raise _changed(base, below.on_top, raw["below"])
    return replace(
        below,
        adapter=adapter or below.adapter,
        messages=(*below.messages, *messages),
        fingerprint=raw.get("fingerprint") or below.fingerprint,
        seed=raw.get("seed") if below.seed is None else below.seed,
    )


def expect(base: str, found: str, recorded: str | None) -> None:
    """Raises GuardError if the base is not what a program was made from."""
    if recorded not in (None, found):
        raise _changed(base, found, recorded)


def _changed(base: str, found: str | None, recorded: str | None) -> GuardError:
    return GuardError(
        f"{base} is not the model it was when the run recommended it",
        field="fingerprint",
        got=found or "nothing on top of its base",
        expected=recorded or "nothing on top of its base",
        hint="run the project again, or put the former model back",
    )


def _manifest_of(adapter: Path) -> str:
    path = adapter / store.MANIFEST
    if not path.is_file():
        raise DamagedError(f"{adapter} lacks its manifest", field=str(path), expected="a file")
    return store.sha256(path)


def _published(found: Source) -> Any:
    """What `tutelage.json` of a run says; None for what is no run, or one that raised a model,
    which stands for itself."""
    if found.kind not in ("run", "folder"):
        return None
    path = found.located / FILE
    if not path.is_file():
        if found.kind == "folder" or (found.located / "config.json").is_file():
            return None
        raise SourceError(f"{found.text} recommends no model yet", field=str(path))
    raw = store.read_json(path)
    if found.kind == "folder" and "messages" not in raw:
        return None  # what `tutelage tune` leaves beside a model: no program
    return raw
