"""SIGKILL at any moment of a tuning run: the same call goes on and ends bitwise the same.

Random moments of the clock, and before each durable operation of a run that saves after every step:
writes, fsyncs and renames of weights, moments, progress, manifests and the result.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import KILLED, Zygote
from tests.unit.train.rows import rows_of
from tutelage import store

METHODS = ("lora", "full")


class Undisturbed:
    """What a run without kills ends with, how long it takes, and its durable operations."""

    def __init__(self, zygote: Zygote, out: Path, method: str) -> None:
        begun = time.monotonic()
        assert zygote.run(out, method, kill_at=-1) == 0
        self.seconds = time.monotonic() - begun
        self.digests = digests(out)
        self.operations = int(out.with_name(out.name + ".operations").read_text())


@pytest.fixture(scope="module")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return {method: Undisturbed(zygote, folder / method, method) for method in METHODS}


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of weights; the folder must be what its manifest says."""
    store.verify(out)
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("*.safetensors")}
    assert found
    return found


def ends_the_same(zygote: Zygote, out: Path, method: str, expected: Undisturbed) -> None:
    assert zygote.run(out, method) == 0
    assert digests(out) == expected.digests
    assert [p.name for p in out.parent.iterdir()] == [out.name], "nothing is left behind"
    curve = json.loads((out / "tutelage.json").read_text())["curve"]
    assert [point["step"] for point in curve] == list(range(1, 7))


def kill_at_random_moments(
    zygote: Zygote, folder: Path, expected: dict[str, Undisturbed], count: int, seed: int
) -> None:
    """Several kills a run, until it is done before the kill comes."""
    drawn = random.Random(seed)
    killed = 0
    number = 0
    while killed < count:
        method = METHODS[number % 2]
        out = folder / str(number) / "out"
        for _ in range(drawn.randrange(1, 4)):
            moment = drawn.uniform(0.001, expected[method].seconds)
            killed += zygote.run(out, method, kill_after=moment) == KILLED
        ends_the_same(zygote, out, method, expected[method])
        number += 1


def kill_at_operations(
    zygote: Zygote, folder: Path, expected: dict[str, Undisturbed], stride: int
) -> None:
    """Before every stride-th durable operation, each on a fresh folder."""
    for method in METHODS:
        operations = expected[method].operations
        assert operations > 60
        for at in range(1 + stride // 2, operations + 1, stride):
            out = folder / f"{method}-{at}" / "out"
            assert zygote.run(out, method, kill_at=at) == KILLED, (method, at)
            ends_the_same(zygote, out, method, expected[method])


def test_kills_at_random_moments(
    zygote: Zygote, undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    kill_at_random_moments(zygote, tmp_path, undisturbed, count=8, seed=1)


def test_kills_before_durable_operations(
    zygote: Zygote, undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    kill_at_operations(zygote, tmp_path, undisturbed, stride=13)


@pytest.mark.parametrize("method", METHODS)
def test_kills_before_the_last_operations(
    method: str, zygote: Zygote, undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    """The result's own files, its manifest, and its way to where it was asked for."""
    operations = undisturbed[method].operations
    for at in (operations - 9, operations - 5, operations - 1, operations):
        out = tmp_path / str(at) / "out"
        assert zygote.run(out, method, kill_at=at) == KILLED
        ends_the_same(zygote, out, method, undisturbed[method])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_kills_at_random_moments(
    zygote: Zygote, undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    kill_at_random_moments(zygote, tmp_path, undisturbed, count=50, seed=2)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kills_before_every_durable_operation(
    zygote: Zygote, undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    kill_at_operations(zygote, tmp_path, undisturbed, stride=1)


def test_the_command_goes_on_after_a_kill(root: Path, tmp_path: Path) -> None:
    """`tutelage tune` itself, killed once its work has begun."""
    data = tmp_path / "rows.jsonl"
    rows = [{"prompt": r.messages[0].content, "completion": r.completion} for r in rows_of()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = []
    for name, kill in (("killed", True), ("whole", False)):
        out = tmp_path / name
        command = [
            sys.executable, "-m", "tutelage", "tune", "preset:llama-tiny", "--data", str(data),
            "--steps", "40", "--batch-tokens", "160", "--dtype", "fp32", "--threads", "1",
            "--skip-forgetting", "--json", "--quiet", "--out", str(out),
        ]  # fmt: skip
        if kill:
            first = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
            while not out.with_name(name + ".state").exists():
                assert first.poll() is None
                time.sleep(0.01)
            first.kill()
            assert first.wait() == KILLED
            assert not out.exists()
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["out"] == str(out)
        results.append(digests(out))
    assert results[0] == results[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "rows.jsonl", "whole"]
