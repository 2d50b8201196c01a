"""Each pain of tuning has a guard, and without it does the harm that users of other tools report.

A guard that could be taken out without any test failing guards nothing. So every pain here says in
which ways it comes, and how its whole guard is switched off: on, no way does any harm; off, every
one does the harm that it says, measured. An error in the place of the harm proves nothing, and
fails the test as any error does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guards import adapters, learning, running
from tests.guards.guard import Guard, Patch

TUNING = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 30}
"""Of the first twenty and the thirtieth all but 3 (engines of reinforcement learning) and 15 (the
export to GGUF)."""
GUARDS = [*learning.GUARDS, *adapters.GUARDS, *running.GUARDS]
EACH = pytest.mark.parametrize("guard", GUARDS, ids=lambda g: f"{g.pain}-{g.ways.__name__}")


@EACH
def test_it_does_not_happen(guard: Guard, tmp_path: Path, monkeypatch: Patch) -> None:
    harm = list(guard.ways(tmp_path, monkeypatch))
    assert harm == [None] * len(harm)


@EACH
def test_without_its_guard_it_would(guard: Guard, tmp_path: Path, monkeypatch: Patch) -> None:
    with monkeypatch.context() as off:
        guard.off(off)
        harm = list(guard.ways(tmp_path, monkeypatch))
    assert harm and all(harm), harm


def test_every_pain_of_tuning_has_a_guard_of_its_own() -> None:
    assert sorted(guard.pain for guard in GUARDS) == sorted(TUNING)
    assert len({guard.off for guard in GUARDS}) == len(GUARDS)
