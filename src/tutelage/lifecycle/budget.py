"""Minutes as a limit that holds while the run runs, also across kills.

    with Clock(file, minutes=10, now=time.monotonic) as clock:
        clock.left()               # seconds, infinite without a limit
        clock.deadline(reserve)    # a question for long work: is it time to stop?

Seconds spent are written down every two seconds, so a kill loses at most those. Where the file is
damaged they cannot be known: that is noted, and counting begins anew; nothing else hangs on it.
What is not within the `with` block is not counted: downloading a model, reading data. Knows nothing
of what is done.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tutelage import store
from tutelage.errors import DamagedError, WorkError
from tutelage.progress import Progress

BEAT_SECONDS = 2.0


class OutOfTime(Exception):
    """The minutes are spent; raised between rows, caught by the ladder."""


class Clock:
    """Seconds of one run. `beat_seconds` None writes at each `mark` alone (for tests)."""

    def __init__(
        self,
        file: Path,
        minutes: float | None,
        now: Callable[[], float],
        beat_seconds: float | None = BEAT_SECONDS,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._file = file
        self._limit = math.inf if minutes is None else minutes * 60
        self._now = now
        self._beat_seconds = beat_seconds
        self._note = note
        self._before = 0.0
        self._begun: float | None = None
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._heart: threading.Thread | None = None
        self.minutes = minutes

    def __enter__(self) -> Clock:
        self._before = self._read()
        self._begun = self._now()
        if self._beat_seconds is not None:
            self._heart = threading.Thread(target=self._beat, daemon=True, name="run-clock")
            self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        if error is None:
            self.mark()

    def spent(self) -> float:
        """Seconds within runs on this folder so far, those before kills too."""
        return self._before + (0.0 if self._begun is None else self._now() - self._begun)

    def left(self) -> float:
        return self._limit - self.spent()

    def fits(self, seconds: float) -> bool:
        """Whether work of so many seconds ends within the limit."""
        return seconds <= self.left()

    def deadline(self, reserve: float) -> Callable[[], bool]:
        """True once no more than `reserve` seconds are left for what must come after."""
        return lambda: self.left() <= reserve

    def watch(self, progress: Progress, reserve: float = 0.0) -> Progress:
        """The same progress, raising OutOfTime at the first report after the deadline."""
        late = self.deadline(reserve)

        def watched(what: str, done: int, total: int | None) -> None:
            progress(what, done, total)
            if (total is None or done < total) and late():
                raise OutOfTime(what)

        return watched

    def mark(self) -> None:
        """Write down the seconds spent."""
        with self._writing:
            store.write_json(self._file, {"seconds_spent": self.spent()})

    def _read(self) -> float:
        """Seconds spent before; 0 with a note for a damaged file."""
        try:
            seconds = float(store.read_json(self._file)["seconds_spent"])
            if not 0 <= seconds < math.inf:
                raise ValueError("no time that can be spent")
        except FileNotFoundError:
            return 0.0
        except (DamagedError, KeyError, TypeError, ValueError):
            again = "" if self.minutes is None else f", and its {self.minutes:g} minutes begin anew"
            self._note(
                f"{self._file} is damaged: how long the run took before is lost{again}; finished "
                "work is kept"
            )
            return 0.0
        return seconds

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            try:
                self.mark()
            except WorkError:
                return  # a full or read-only disk: the next stage names it
