from __future__ import annotations

import itertools

import pytest

from tutelage.machine import speed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A clock on which each piece of work takes the next of the given times."""

    def make(*seconds: float) -> None:
        times = itertools.accumulate(itertools.chain.from_iterable((1.0, s) for s in seconds))
        monkeypatch.setattr(speed.time, "perf_counter", lambda: next(times))

    return make


def test_the_first_run_is_not_counted_and_the_middle_one_is_taken(clock) -> None:
    clock(90.0, 3.0, 1.0, 50.0)
    assert speed.median_seconds(lambda: None, runs=3) == 3.0


def test_multiplications_are_two_n_cubed(clock) -> None:
    clock(*[0.5] * (speed.RUNS + 1))
    assert speed.gemm_flops("fp32", size=10) == 2 * 10**3 / 0.5


def test_bytes_are_those_of_the_array(clock) -> None:
    clock(*[0.25] * (speed.RUNS + 1))
    assert speed.bandwidth(size=4000) == 4000 / 0.25


def test_real_speeds_are_positive_and_finite() -> None:
    assert 1e6 < speed.gemm_flops("fp32", size=128) < 1e16
    assert 1e6 < speed.bandwidth(size=10**6) < 1e14
