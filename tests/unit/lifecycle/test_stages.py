"""The stage cache: what a key follows from, what comes back, what damage does."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tutelage import store
from tutelage.errors import DamagedError
from tutelage.lifecycle import stages as module
from tutelage.lifecycle.stages import Stage, Stages


def make(folder: Path, **environment: Any) -> tuple[Stages, list[str]]:
    notes: list[str] = []
    return Stages(folder, environment, notes.append), notes


def stage(result: dict[str, Any], calls: list[int], **inputs: Any) -> Stage:
    def work() -> dict[str, Any]:
        calls.append(1)
        return result

    return Stage("work", inputs, work, code=("tutelage.score",))


def test_a_finished_stage_is_never_done_again(tmp_path: Path) -> None:
    calls: list[int] = []
    cache, _ = make(tmp_path)
    first = cache.run(stage({"a": (1, 2)}, calls, x=1))
    again, _ = make(tmp_path)
    assert again.run(stage({"a": "never"}, calls, x=1)) == first == {"a": [1, 2]}
    assert len(calls) == 1 and again.made == []


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-310, -0.0, 1 / 3, 1.7976931348623157e308]
    cache, _ = make(tmp_path)
    back = cache.run(stage({"v": values}, []))["v"]
    assert [struct.pack("d", v) for v in back] == [struct.pack("d", v) for v in values]


def test_a_key_follows_from_inputs_code_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, _ = make(tmp_path, dtype="bf16")
    plain = cache.key(stage({}, [], x=1))
    assert plain == make(tmp_path, dtype="bf16")[0].key(stage({}, [], x=1))
    assert plain != cache.key(stage({}, [], x=2))
    assert plain != make(tmp_path, dtype="fp32")[0].key(stage({}, [], x=1))
    monkeypatch.setattr(module, "code_hash", lambda *modules: "changed code")
    assert plain != cache.key(stage({}, [], x=1))


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete", "no manifest"])
def test_a_damaged_stage_is_named_and_done_again(tmp_path: Path, harm: str) -> None:
    calls: list[int] = []
    cache, notes = make(tmp_path)
    cache.run(stage({"a": 1}, calls))
    file = next(tmp_path.glob("work-*")) / "result.json"
    if harm == "truncate":
        file.write_bytes(file.read_bytes()[:-3])
    elif harm == "flip":
        file.write_bytes(file.read_bytes().replace(b"1", b"2"))
    elif harm == "delete":
        file.unlink()
    else:
        (file.parent / store.MANIFEST).unlink()
    assert cache.run(stage({"a": 1}, calls)) == {"a": 1}
    assert len(calls) == 2 and str(file.parent) in notes[0]


def test_a_check_that_fails_means_the_stage_is_redone(tmp_path: Path) -> None:
    calls: list[int] = []
    cache, notes = make(tmp_path)

    def check(result: dict[str, Any]) -> None:
        raise DamagedError("the adapter is damaged")

    plain = stage({"a": 1}, calls)
    cache.run(plain)
    checked = Stage(plain.name, plain.inputs, plain.make, plain.code, check)
    assert cache.done(checked) is None and "the adapter is damaged" in notes[0]


def test_a_failing_stage_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("no")

    cache, _ = make(tmp_path)
    with pytest.raises(RuntimeError):
        cache.run(Stage("work", {}, fail))
    with pytest.raises(ValueError, match="Out of range float"):
        cache.run(Stage("work", {}, lambda: {"a": float("nan")}))
    assert list(tmp_path.iterdir()) == []
