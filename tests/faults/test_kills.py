"""SIGKILL at any moment of a tuning run: the same call goes on and ends bitwise the same.

Random moments of the clock, and before each durable operation of a run that saves after every step:
writes, fsyncs and renames of weights, moments, progress, manifests and the result.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import Case, Kills
from tests.faults.conftest import KILLED, Zygote
from tests.unit.train.rows import rows_of
from tutelage import store

METHODS = ("lora", "full")


@pytest.fixture(scope="module")
def cases(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """An undisturbed run of each method."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return {
        method: Case.of(zygote, folder / method / "run", method, finished, ending)
        for method in METHODS
    }


def finished(out: Path) -> dict[str, int]:
    """The result, which appears at once, and when it was made."""
    return {file.name: file.stat().st_mtime_ns for file in out.glob("*")}


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of weights; the folder must be what its manifest says."""
    store.verify(out)
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("*.safetensors")}
    assert found
    return found


def ending(out: Path) -> dict[str, Any]:
    """Weights, and steps with their losses; nothing else is left behind."""
    assert {p.name for p in out.parent.iterdir()} <= {out.name, out.name + ".operations"}
    curve = json.loads((out / "tutelage.json").read_text())["curve"]
    assert [point["step"] for point in curve] == list(range(1, 7))
    return {"weights": digests(out), "losses": [point["loss"] for point in curve]}


@pytest.mark.parametrize("method", METHODS)
def test_kills_at_random_moments(
    method: str, zygote: Zygote, cases: dict[str, Case], tmp_path: Path
) -> None:
    Kills(zygote, cases[method], tmp_path).at_random_moments(4, seed=1)


@pytest.mark.parametrize("method", METHODS)
def test_kills_before_durable_operations(
    method: str, zygote: Zygote, cases: dict[str, Case], tmp_path: Path
) -> None:
    """Every thirteenth, and the last: the result's own files, its manifest, and its way to where
    it was asked for."""
    count = len(cases[method].operations)
    assert count > 60
    numbers = [*range(7, count - 9, 13), count - 9, count - 5, count - 1, count]
    Kills(zygote, cases[method], tmp_path).before_operations(numbers)


@pytest.mark.long
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("method", METHODS)
def test_many_kills_at_random_moments(
    method: str, zygote: Zygote, cases: dict[str, Case], tmp_path: Path
) -> None:
    kills = Kills(zygote, cases[method], tmp_path)
    kills.at_random_moments(50, seed=2)
    assert sum(count for place, count in kills.places.items() if "save" in place) >= 5


@pytest.mark.long
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("method", METHODS)
def test_kills_before_every_durable_operation(
    method: str, zygote: Zygote, cases: dict[str, Case], tmp_path: Path
) -> None:
    kills = Kills(zygote, cases[method], tmp_path)
    kills.before_operations(range(1, len(cases[method].operations) + 1))
    assert {"save", "save/manifest", "manifest"} <= set(kills.places)


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
