"""Several adapters on one base in memory: one at a time in use, or each row with its own.

    switch = Switch(model, checkpoint)
    switch.add("terse", folder)
    switch.use("terse")               # or None, the base: modules change places
    switch.mix(["terse", None, ...])  # row by row, where all of them are LoRA

Adapters stay beside the base's weights; none is merged. Their methods need not be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._mixed import Mix, MixedLinear
from tutelage.peft.open import read_adapter

MIXED = object()
"""In the place of a name: all LoRA adapters at once."""
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
        self._changes: dict[object, list[_Change]] = {}
        self._used: object = None
        self._low: list[str] = []
        """Those that change linear maps by low ranks and nothing else."""
        self._mix = Mix()

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
        if all(type(change.after) is LoraLinear for change in self._changes[name]):
            self._low.append(name)
        self.use(None)
        self._changes.pop(MIXED, None)

    def use(self, name: str | None) -> None:
        """Let the model be the base with this adapter, or by itself."""
        self._put(name)

    def mix(self, names: Sequence[str | None]) -> bool:
        """Let the model be, for passes over as many tokens as there are names, each token of a row
        of its own, the base with that adapter. False, and nothing changes, where one of them
        changes more than linear maps."""
        if not {*names} - {None} <= {*self._low}:
            return False
        if MIXED not in self._changes:
            self._changes[MIXED] = self._all_low()
        self._put(MIXED)
        rows = [-1 if name is None else self._low.index(name) for name in names]
        self._mix.put(torch.tensor(rows, device=self.model.device))
        return True

    def _all_low(self) -> list[_Change]:
        """What takes all LoRA adapters' places at once."""
        found: dict[tuple[int, str], list[tuple[int, _Change]]] = {}
        for number, adapter in enumerate(self._low):
            for change in self._changes[adapter]:
                found.setdefault((id(change.table), change.name), []).append((number, change))
        made = []
        for changes in found.values():
            one = changes[0][1]
            updates = [(n, c.after) for n, c in changes if isinstance(c.after, LoraLinear)]
            mixed = MixedLinear(updates[0][1].base, updates, self._mix, len(self._low))
            made.append(_Change(one.table, one.name, one.before, mixed))
        return made

    def _put(self, name: object) -> None:
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
