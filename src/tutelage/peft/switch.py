"""Several adapters on one base in memory, of which one at a time is in use.

    switch = Switch(model, checkpoint)
    switch.add("terse", folder)
    switch.use("terse")      # or None, the base: modules change places, no weight is copied

Adapters stay beside the base's weights; none is merged. Their methods need not be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.peft.open import read_adapter

TABLES = ("_modules", "_parameters")
"""Where a module of PyTorch's keeps what an adapter may put in another's place."""


@dataclass(frozen=True)
class _Change:
    """What an adapter puts in the place of a part of a module."""

    table: dict[str, Any]
    name: str
    before: object
    after: object


class Switch:
    """A model of which some parts change places. Nobody else may attach to it meanwhile."""

    def __init__(self, model: Model, checkpoint: Checkpoint) -> None:
        self.model = model
        self._checkpoint = checkpoint
        self._changes: dict[str, list[_Change]] = {}
        self._used: str | None = None

    def add(self, name: str, folder: Path) -> None:
        """Read an adapter, which is not used yet. Raises SourceError, DamagedError."""
        self.use(None)
        before = [(table, dict(table)) for table in _tables(self.model)]
        read_adapter(self.model, self._checkpoint, folder)
        self._changes[name] = [
            _Change(table, key, then.get(key), value)
            for table, then in before
            for key, value in table.items()
            if value is not then.get(key)
        ]
        self._used = name
        self.use(None)

    def use(self, name: str | None) -> None:
        """Let the model be the base with this adapter, or by itself."""
        if name == self._used:
            return
        if self._used is not None:
            for change in self._changes[self._used]:
                change.table[change.name] = change.before
        if name is not None:
            for change in self._changes[name]:
                change.table[change.name] = change.after
        self._used = name


def _tables(model: nn.Module) -> list[dict[str, Any]]:
    return [getattr(module, table) for module in model.modules() for table in TABLES]
