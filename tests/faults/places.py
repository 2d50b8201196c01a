"""Where a forked run is, in memory that whoever forked it reads after a kill.

    save              a checkpoint is written         save/manifest     and sealed by its manifest
    manifest          another folder is sealed        resume            a checkpoint is read
    publish           what the run's folder shows     publish/report    the report is written

Anywhere else it is the name of the stage being made, and `-` between stages.
"""

from __future__ import annotations

import functools
import mmap
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.lifecycle import card, publish, report
from tutelage.lifecycle import run as life
from tutelage.lifecycle.stages import Stages
from tutelage.pretrain import material
from tutelage.pretrain import run as pretraining
from tutelage.pretrain.samples import Samples
from tutelage.train import state

SIZE = 256
MARKS: tuple[tuple[str, Any, str], ...] = (
    ("save", state, "save"),
    ("resume", state, "resume"),
    ("manifest", store, "_seal"),
    ("report", report, "write_report"),
    ("card", card, "write_card"),
    ("publish", life, "_publish"),
    ("model", publish, "publish"),
    ("held-out", material, "_held_out"),
    ("tokenizer", material, "_tokenizer"),
    ("tokens", material, "_store"),
    ("samples", Samples, "at"),
    ("measure", pretraining, "_measured"),
)

NAMES = frozenset(name for name, _, _ in MARKS)
CLOCK = "clock"


class Place:
    """The names of all that is being done, the outermost first."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)
        self._names: list[str] = []

    def read(self) -> str:
        """A path such as `save/manifest`; `-` between all that has a name."""
        names = self._memory[:].rstrip(b"\0").decode("ascii", "replace")
        return label(names.split("/") if names else [])

    def label(self) -> str:
        """The same, in the process that is there itself. Other threads than its first only write
        down what the clock says."""
        first = threading.current_thread() is threading.main_thread()
        return label(self._names) if first else CLOCK

    def clear(self) -> None:
        self._names = []
        self._write()

    def watch(self) -> None:
        """From now on this process says where it is."""
        for name, holder, function in MARKS:
            setattr(holder, function, self._within(getattr(holder, function), lambda *_, n=name: n))
        Stages.run = self._within(Stages.run, lambda _, stage: stage.name)  # type: ignore[method-assign]

    def _within(self, work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        @functools.wraps(work)
        def watched(*given: Any, **named: Any) -> Any:
            self._names.append(name(*given))
            self._write()
            try:
                return work(*given, **named)
            finally:
                self._names.pop()
                self._write()

        return watched

    def _write(self) -> None:
        self._memory[:] = "/".join(self._names).encode()[:SIZE].ljust(SIZE, b"\0")


def label(names: list[str]) -> str:
    """Marks without the stages they lie in; without marks, the stage."""
    marked = [name for name in names if name in NAMES]
    return "/".join(marked or names[-1:] or ["-"])


def kind(where: str, operation: str, path: Path) -> str:
    """What sort of durable operation this is: many of a run are of one sort."""
    name = re.sub(r"-[0-9a-f]{20}$", "", path.name)
    name = re.sub(r"^step-\d+$", "step", name)
    name = "temporary" if name.startswith(store.TEMPORARY) else name
    if name == "clock.json":
        where = CLOCK
    elif where != CLOCK and where.split("/")[0] not in NAMES:
        where = "stage"
    return f"{where}:{operation}:{name}"
