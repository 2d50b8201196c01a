"""SIGKILL at any moment of a tuning run: the same call goes on and ends bitwise the same.

Random moments of the clock, and before each durable operation of a run that saves after every step:
writes, fsyncs and renames of weights, moments, progress, manifests and the result.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import Case, Kills
from tests.faults.conftest import Zygote
from tutelage import store
from tutelage.peft import METHODS as REGISTRY

METHODS = ("lora", "full")
"""Those that are killed at many places."""


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


@pytest.mark.parametrize("method", [name for name in REGISTRY.names() if name not in METHODS])
def test_every_other_method_goes_on_after_kills(
    method: str, zygote: Zygote, tmp_path: Path
) -> None:
    """While it learns, while its result is written, and before that is where it was asked for."""
    case = Case.of(zygote, tmp_path / "undisturbed" / "run", method, finished, ending)
    count = len(case.operations)
    kills = Kills(zygote, case, tmp_path)
    kills.before_operations([count // 2, count - 9, count])


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
