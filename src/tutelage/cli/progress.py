"""Progress for people, on stderr: bars with the time left on a terminal, else a line now and then.

Knows nothing of what the work is: it is a `progress.Progress` and shows names and counts.
"""

from __future__ import annotations

import sys
import time
from typing import Any

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """A `Progress` that draws. One a process; safe to call again after `stop`."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            self._draw(what, done, total)
        else:
            self._line(what, done, total)

    def stop(self) -> None:
        """Leave the terminal as it was and forget all tasks."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        for table in (self._tasks, self._begun, self._shown):
            table.clear()

    def _draw(self, what: str, done: int, total: int | None) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)
        if total is not None and done >= total:
            self._bars.remove_task(self._tasks.pop(what))

    def _line(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        begun = self._begun.setdefault(what, now)
        finished = total is not None and done >= total
        recent = now - self._shown.get(what, begun) < SECONDS_BETWEEN_LINES
        if recent and not (finished and what in self._shown):
            return
        self._shown[what] = now
        print(line(what, done, total, now - begun), file=sys.stderr, flush=True)
        if finished:
            del self._begun[what], self._shown[what]


def line(what: str, done: int, total: int | None, seconds: float) -> str:
    """`few-shot: 40/200, 20%, about 2 min left`."""
    if total is None:
        return f"{what}: {done}"
    share = f"{what}: {done}/{total}, {100 * done // max(total, 1)}%"
    if 0 < done < total and seconds > 0:
        return f"{share}, about {duration(seconds * (total - done) / done)} left"
    return share


def duration(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
