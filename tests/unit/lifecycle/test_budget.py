"""Minutes: counted across kills, asked for deadlines, written down as they pass."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from tests.unit.lifecycle.fakes import FakeClock
from tutelage import store
from tutelage.lifecycle.budget import Clock, OutOfTime
from tutelage.progress import silent

BAD = ("-1", "NaN", "Infinity", '"soon"', "null")


def clock(file: Path, time: FakeClock, minutes: float | None = 1) -> Clock:
    return Clock(file, minutes, time.now, beat_seconds=None)


def test_seconds_before_a_kill_count(tmp_path: Path) -> None:
    time = FakeClock(1000.0)
    with pytest.raises(KeyboardInterrupt), clock(tmp_path / "c.json", time) as first:
        time.seconds += 20
        first.mark()
        raise KeyboardInterrupt
    time.seconds += 500  # nothing ran meanwhile
    with clock(tmp_path / "c.json", time) as second:
        assert second.spent() == 20
        time.seconds += 15
        assert second.left() == 25
    assert store.read_json(tmp_path / "c.json") == {"seconds_spent": 35.0}


def test_what_fits_and_deadlines(tmp_path: Path) -> None:
    time = FakeClock()
    with clock(tmp_path / "c.json", time) as it:
        assert it.fits(60) and not it.fits(60.1)
        late = it.deadline(reserve=10)
        assert not late()
        time.seconds = 50
        assert late()


def test_without_minutes_there_is_no_deadline(tmp_path: Path) -> None:
    time = FakeClock()
    with clock(tmp_path / "c.json", time, None) as it:
        time.seconds = 1e9
        assert it.left() == math.inf and it.fits(1e12) and not it.deadline(1e9)()


def test_watched_progress_raises_between_rows_but_not_after_the_last(tmp_path: Path) -> None:
    time = FakeClock()
    with clock(tmp_path / "c.json", time) as it:
        seen = []
        watched = it.watch(lambda what, done, total: seen.append(done))
        watched("rows", 1, 3)
        time.seconds = 61
        with pytest.raises(OutOfTime):
            watched("rows", 2, 3)
        watched("rows", 3, 3)
        assert seen == [1, 2, 3]
        assert it.watch(silent, reserve=5)("rows", 3, 3) is None


def test_the_heart_beats_while_the_run_runs(tmp_path: Path) -> None:
    file, time, beaten = tmp_path / "c.json", FakeClock(), threading.Event()

    class Seen(Clock):
        def mark(self) -> None:
            super().mark()
            beaten.set()

    with Seen(file, 1, time.now, beat_seconds=0.001):
        assert beaten.wait(120)
        assert "seconds_spent" in store.read_json(file)
    assert not any(thread.name == "run-clock" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "content",
    ['{"seconds_sp', "", '{"seconds": 3}', "[3]", *(f'{{"seconds_spent": {x}}}' for x in BAD)],
)
def test_a_damaged_clock_is_named_and_begins_anew(tmp_path: Path, content: str) -> None:
    file, notes, time = tmp_path / "c.json", [], FakeClock()
    file.write_text(content)
    with Clock(file, 1, time.now, beat_seconds=None, note=notes.append) as it:
        assert it.left() == 60
        time.seconds += 5
    (note,) = notes
    assert str(file) in note and "is lost" in note and "its 1 minutes begin anew" in note
    with Clock(file, 1, time.now, beat_seconds=None, note=notes.append) as it:
        assert it.spent() == 5 and len(notes) == 1
