"""A few calls at a time: all are answered, never too many run, the first error ends the rest."""

from __future__ import annotations

import threading

import pytest

from tutelage.backends.parallel import each


def test_every_call_is_answered_and_no_more_run_than_asked_for() -> None:
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(3)

    def square(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        full.wait(120)  # passes only if three run at the same time
        with lock:
            running -= 1
        return number * number

    assert sorted(each(square, range(9), at_once=3)) == [(n, n * n) for n in range(9)]
    assert most == 3


def test_nothing_to_do() -> None:
    assert list(each(str, [], at_once=3)) == []


def test_the_first_error_is_raised_and_the_rest_not_begun() -> None:
    begun: list[int] = []
    caught = threading.Event()

    def fail(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        if number > 2:
            assert caught.wait(120)
        return number

    found = each(fail, range(1000), at_once=1)
    with pytest.raises(ValueError, match="two"):
        for number, _ in found:
            assert number < 2
    caught.set()
    assert begun in ([0, 1, 2], [0, 1, 2, 3])


def test_who_stops_listening_is_not_kept_waiting() -> None:
    never = threading.Event()
    found = each(lambda number: number or never.wait(600), [1, 0, 0], at_once=2)
    assert next(found) == (0, 1)
    found.close()
    never.set()
