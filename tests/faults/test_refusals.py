"""A full disk, a read-only folder: named, nothing lost, and the same call goes on afterwards."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Zygote, remount
from tests.unit.train.rows import SOURCE, After, config, rows_of, tuned, weights_of
from tutelage import store
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.errors import ConfigError, WorkError
from tutelage.train import prepare as module

SETTINGS = config(save_seconds=1e-9)


@pytest.fixture(scope="module", autouse=True)
def rendered_once() -> Iterator[None]:
    """The rows' tokens are the same in every run here: one rendering serves them all."""
    known = module.examples_of(rows_of(), Reading.of(open_checkpoint(SOURCE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "examples_of", lambda *given, **named: known)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    tuned(out, SETTINGS)
    return weights_of(out)


class Failing:
    """store.before that refuses the n-th durable operation once."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number, self.seen = at, number, 0

    def __call__(self, operation: str, path: Path) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise OSError(self.number, os.strerror(self.number), str(path))


def operations_of_a_save(out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    counting = Failing(-1, 0)
    monkeypatch.setattr(store, "before", counting)
    tuned(out, SETTINGS, deadline=After(1))
    return counting.seen


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_every_operation_of_a_save_can_fail(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    """The second save of a run: each of its operations fails once; the first checkpoint stays. The
    next call fails one operation later, or comes to its end."""
    count = operations_of_a_save(tmp_path / "counted", monkeypatch)
    assert count >= 10
    out = tmp_path / "none"
    for at in range(1, count + 1, 1 if number == errno.ENOSPC else 5):
        if not out.with_name("out.state").exists():
            out = tmp_path / f"from-{at}" / "out"
            monkeypatch.setattr(store, "before", Failing(-1, 0))
            tuned(out, SETTINGS, deadline=After(1))
        monkeypatch.setattr(store, "before", Failing(at, number))
        with pytest.raises(WorkError) as caught:
            tuned(out, SETTINGS)
        assert str(tmp_path) in str(caught.value.field)
        assert ("disk full" in caught.value.message) == (number == errno.ENOSPC)
        store.verify(out.parent / "out.state" / "step-00000001")
        if at % 4 == 1 or at == count:
            monkeypatch.setattr(store, "before", Failing(-1, 0))
            assert tuned(out, SETTINGS)["steps"] == 6
            assert weights_of(out) == undisturbed
            assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_every_operation_of_the_result_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one step, then of its result: as above."""
    counting = Failing(-1, 0)
    slow = config(steps=1)
    monkeypatch.setattr(store, "before", counting)
    tuned(tmp_path / "counted", slow)
    undisturbed = weights_of(tmp_path / "counted")
    out = tmp_path / "from-1" / "out"
    for at in range(1, counting.seen + 1):
        monkeypatch.setattr(store, "before", Failing(at, errno.ENOSPC))
        with pytest.raises(WorkError, match="disk full"):
            tuned(out, slow)
        if at % 4 == 1 or out.exists() or at == counting.seen:
            monkeypatch.setattr(store, "before", Failing(-1, 0))
            tuned(out, slow)
            assert weights_of(out) == undisturbed
            assert [p.name for p in out.parent.iterdir()] == ["out"]
            out = tmp_path / f"from-{at + 1}" / "out"


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a file"
    place.write_text("not a folder")
    with pytest.raises(ConfigError) as caught:
        tuned(place / "out", SETTINGS)
    assert caught.value.field == "--out" and caught.value.got == str(place / "out")
    assert place.read_text() == "not a folder"


@pytest.mark.parametrize("size", ["600k", "1300k", "1900k"])
def test_a_disk_that_really_is_full(size: str, zygote: Zygote, disk: Path) -> None:
    """Full in the first checkpoint, in a later one, in the result (weights are some 0.4 MB)."""
    remount(zygote, disk, f"size={size}")
    said = zygote.failing(disk / "out", "full")
    assert "No space left on device" in said or "disk full" in said
    assert str(disk / "out") in said
    left = 'test -z "$(find "$1" -name ".tmp-*")"'
    zygote.shell("sh", "-c", left, "sh", disk)  # what was begun is removed, to make room
