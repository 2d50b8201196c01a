from __future__ import annotations

import io
import sys

import pytest

from tutelage.cli import progress as module
from tutelage.cli.progress import Display, duration, line
from tutelage.cli.shared import Shared, progress, stop_progress
from tutelage.progress import silent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_is_the_time_spent_scaled() -> None:
    assert line("few-shot", 50, 200, 40.0) == "few-shot: 50/200, 25%, about 2 min left"
    assert line("few-shot", 200, 200, 40.0) == "few-shot: 200/200, 100%"
    assert line("few-shot", 0, 200, 40.0) == "few-shot: 0/200, 0%"
    assert line("download", 7, None, 40.0) == "download: 7"
    assert line("nothing", 0, 0, 1.0) == "nothing: 0/0, 0%"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display()
    for done in range(101):
        display("eval", done, 100)
        clock[0] += 0.25
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert 4 <= len(lines) <= 7
    assert lines[-1] == "eval: 100/100, 100%"


def test_quick_work_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    for done in range(11):
        display("eval", done, 10)
    assert capsys.readouterr().err == ""


def test_quiet_is_silent() -> None:
    assert progress(Shared(quiet=True)) is silent
    assert progress(None) is progress(Shared()) is not silent


def test_bars_on_a_terminal_leave_it_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    show = progress(Shared())
    show("tune", 1, 3)
    show("tune", 3, 3)
    show("pull", 5, None)
    stop_progress()
    text = terminal.getvalue()
    assert "tune" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[2K" in text
