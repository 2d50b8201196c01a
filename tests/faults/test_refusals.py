"""A full disk, a read-only folder: named, nothing lost, and the same call goes on afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.train.rows import SOURCE, After, config, rows_of, tuned, weights_of
from tutelage import store
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.errors import WorkError
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
    """The second save of a run: each of its operations fails once; the first checkpoint stays."""
    count = operations_of_a_save(tmp_path / "counted", monkeypatch)
    assert count >= 10
    for at in range(1, count + 1, 1 if number == errno.ENOSPC else 5):
        out = tmp_path / f"fails-{at}" / "out"
        monkeypatch.setattr(store, "before", Failing(-1, 0))
        tuned(out, SETTINGS, deadline=After(1))
        monkeypatch.setattr(store, "before", Failing(at, number))
        with pytest.raises(WorkError) as caught:
            tuned(out, SETTINGS)
        assert str(tmp_path) in str(caught.value.field)
        assert ("disk full" in caught.value.message) == (number == errno.ENOSPC)
        monkeypatch.setattr(store, "before", Failing(-1, 0))
        store.verify(out.parent / "out.state" / "step-00000001")
        if at % 4 == 1 or at == count:
            assert tuned(out, SETTINGS)["steps"] == 6
            assert weights_of(out) == undisturbed
            assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_every_operation_of_the_result_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Failing(-1, 0)
    slow = config(steps=1)
    monkeypatch.setattr(store, "before", counting)
    tuned(tmp_path / "counted", slow)
    undisturbed = weights_of(tmp_path / "counted")
    for at in range(1, counting.seen + 1):
        out = tmp_path / f"fails-{at}" / "out"
        monkeypatch.setattr(store, "before", Failing(at, errno.ENOSPC))
        with pytest.raises(WorkError, match="disk full"):
            tuned(out, slow)
        monkeypatch.setattr(store, "before", Failing(-1, 0))
        tuned(out, slow)
        assert weights_of(out) == undisturbed
        assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a file"
    place.write_text("not a folder")
    with pytest.raises(WorkError) as caught:
        tuned(place / "out", SETTINGS)
    assert "a file" in str(caught.value.field)
    assert place.read_text() == "not a folder"


DRIVER = """
import sys
from collections.abc import Iterator
from pathlib import Path
from tests.unit.train.rows import config, tuned
from tutelage.errors import WorkError
try:
    tuned(Path(sys.argv[1]), config(method="full", save_seconds=1e-9))
except WorkError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


def mounted(root: Path, folder: Path, options: str, then: str = "true") -> tuple[int, str, str]:
    """Tune onto a small file system of its own, mounted where only this process sees it."""
    script = f'mount -t tmpfs -o {options} none "$1" && "$2" -c "$3" "$1/out"; status=$?; {then}'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{script}; exit $status", "sh",
         str(folder), sys.executable, DRIVER],
        cwd=root, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def can_mount(folder: Path) -> bool:
    try:
        script = 'mount -t tmpfs none "$1"'
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", str(folder)])
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.parametrize("size", ["600k", "1300k", "1900k"])
def test_a_disk_that_really_is_full(size: str, root: Path, tmp_path: Path) -> None:
    """Full in the first checkpoint, in a later one, in the result (weights are some 0.4 MB)."""
    if not can_mount(tmp_path):
        pytest.skip("no right to mount a file system of one's own")
    status, printed, errors = mounted(
        root, tmp_path, f"size={size}", 'echo; find "$1" -name ".tmp-*"'
    )
    assert status == 1, errors
    message, left = printed.splitlines()[0], printed.splitlines()[1:]
    assert "No space left on device" in message or "disk full" in message
    assert str(tmp_path / "out") in message
    assert left == [""], "what was begun is removed, to make room"


def test_a_disk_that_really_is_read_only(root: Path, tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("no right to mount a file system of one's own")
    status, printed, errors = mounted(root, tmp_path, "ro")
    assert status == 1, errors
    assert "Read-only file system" in printed and str(tmp_path / "out") in printed
