"""The limit of memory: what is predicted above it is not begun, what went above it not chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.contract_run import planted
from tests.unit.lifecycle.fakes import FakeModel, World
from tests.unit.lifecycle.test_ladder import by_rung, plan
from tutelage.lifecycle.project import Limits, Models
from tutelage.lifecycle.run import run

RUNGS = ["zero-shot", "few-shot", "lora", "full"]
GB = 1_000_000_000
HELD = 100_000_000 + 50_000_000
"""What a world's process holds, and the weights of its model."""


class FakePeak:
    """Blocks that take as much as they are told, the last of them for all that follow."""

    taken: ClassVar[list[int]] = []

    def __enter__(self) -> FakePeak:
        more = len(self.taken) > 1
        self.bytes = self.taken.pop(0) if more else self.taken[0]
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture(autouse=True)
def peaks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the next measured blocks take."""
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr("tutelage.lifecycle.answering.Peak", FakePeak)
    monkeypatch.setattr("tutelage.lifecycle.forgetting.Peak", FakePeak)
    monkeypatch.setattr(FakePeak, "taken", [1000])
    return FakePeak.taken


def ran(
    folder: Path, gb: float | None, made: World | None = None, **changes: Any
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    made = made or World({planted.MODEL: FakeModel(context=400)})
    wanted = plan(folder, RUNGS, budget=Limits(memory_gb=gb), **changes)
    return run(wanted, out=folder / "r", tools=made.tools())


def test_every_rung_says_what_it_was_predicted_and_measured_to_need(
    tmp_path: Path, peaks: list[int]
) -> None:
    peaks[:] = [7000, 9000]
    record = ran(tmp_path, None)
    found = by_rung(record)
    zero, few = found["zero-shot"], found["few-shot"]
    assert (zero["peak_bytes"], few["peak_bytes"]) == (9000, 9000)  # its test rows took more
    shots = record["detail"]["candidates"][few["name"]]["shots"]
    assert zero["predicted_peak_bytes"] > HELD and shots
    assert few["predicted_peak_bytes"] > zero["predicted_peak_bytes"]
    assert found["lora"]["predicted_peak_bytes"] == GB
    assert not any(one["over_budget"] for one in found.values())


def test_tuning_that_is_predicted_to_take_too_much_is_skipped(tmp_path: Path) -> None:
    found = by_rung(ran(tmp_path, 0.5))
    assert found["lora"]["status"] == found["full"]["status"] == "skipped"
    assert "1.00 GB of memory, the limit is 0.5 GB" in found["lora"]["reason"]
    assert found["lora"]["predicted_peak_bytes"] == GB
    assert found["zero-shot"]["status"] == "done"


def test_examples_that_are_predicted_to_take_too_much_are_not_asked(tmp_path: Path) -> None:
    free = by_rung(ran(tmp_path / "free", None))
    limit = free["zero-shot"]["predicted_peak_bytes"]
    record = ran(tmp_path, limit / 1e9)
    found = by_rung(record)
    assert found["zero-shot"]["status"] == "done" and found["zero-shot"]["test"] is not None
    few = found["few-shot"]
    assert few["status"] == "skipped" and few["predicted_peak_bytes"] > limit
    assert "GB of memory, the limit is" in few["reason"] and few["peak_bytes"] is None
    assert record["status"] == "memory limit"


def test_fewer_examples_are_kept_where_more_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tutelage.lifecycle.rungs.FEW", (2,))
        limit = by_rung(ran(tmp_path / "two", None))["few-shot"]["predicted_peak_bytes"]
    record = ran(tmp_path, limit / 1e9)
    few = by_rung(record)["few-shot"]
    two, four = record["detail"]["candidates"][few["name"]]["tried"]
    assert few["status"] == "done" and two["value"] is not None and four["value"] is None
    assert "GB of memory, the limit is" in four["reason"]
    assert few["predicted_peak_bytes"] == limit


def test_a_model_too_large_to_be_opened_is_left_alone(tmp_path: Path) -> None:
    models = {
        "pypi:llm-small": FakeModel(context=400),
        "pypi:llm-large": FakeModel(context=10, weights=3 * GB),
    }
    made = World(models)
    opened: list[str] = []
    open_lm = made.open_lm

    def watched(source: str, adapter: Path | None) -> Any:
        opened.append(source)
        return open_lm(source, adapter)

    made.open_lm = watched  # type: ignore[method-assign]
    record = ran(tmp_path, 2, made, models=Models(candidates=list(models)))
    large = [one for one in record["candidates"] if one["model"] == "pypi:llm-large"]
    assert "pypi:llm-large" not in opened and len(large) == len(RUNGS)
    for one in large:
        assert one["status"] == "skipped" and one["predicted_peak_bytes"] > 3 * GB
        assert "predicted to need 3.10 GB of memory, the limit is 2 GB" in one["reason"]
    assert record["detail"]["data"]["set_aside"].get("too-long") is None
    assert record["recommended"]["model"] == "pypi:llm-small"


def test_what_took_too_much_is_measured_and_never_recommended(
    tmp_path: Path, peaks: list[int]
) -> None:
    """Few-shot takes more than it was predicted to, at its second number of examples."""
    free = ran(tmp_path / "free", None)
    assert free["recommended"]["rung"] == "lora"
    peaks[:] = [1000, 1000, 3 * GB, 1000]
    record = ran(tmp_path, 2)
    found = by_rung(record)
    few = found["few-shot"]
    assert few["over_budget"] and few["status"] == "done" and few["peak_bytes"] == 3 * GB
    assert "it took 3.00 GB of memory, more than the limit of 2 GB" in few["reason"]
    assert few["development"] and few["test"] is None and few["comparisons"]
    assert few["name"] not in record["detail"]["front"]
    assert not found["lora"]["over_budget"]


def test_a_tuning_that_took_too_much_is_not_recommended(tmp_path: Path) -> None:
    made = World({planted.MODEL: FakeModel(context=400)}, peak_bytes=3 * GB)
    record = ran(tmp_path, 2, made)
    found = by_rung(record)
    assert found["lora"]["over_budget"] and found["full"]["over_budget"]
    assert record["recommended"]["rung"] in ("zero-shot", "few-shot")
    assert record["status"] == "memory limit"
    assert f"no room for {found['lora']['name']}" in record["reason"]


def test_the_minutes_are_named_before_the_memory(tmp_path: Path) -> None:
    """Tuning does not fit the minutes, examples do not fit the memory."""
    limit = by_rung(ran(tmp_path / "free", None))["zero-shot"]["predicted_peak_bytes"] / 1e9
    made = World({planted.MODEL: FakeModel(context=400)}, predicted_bytes=1, predicted_seconds=1e4)
    (tmp_path / "both").mkdir()
    wanted = plan(tmp_path / "both", RUNGS, budget=Limits(memory_gb=limit, minutes=1))
    record = run(wanted, out=tmp_path / "r", tools=made.tools())
    assert record["status"] == "budget too small"
    assert "Too few of the minutes were left for fake-lora, fake-full." in record["reason"]
    assert "The memory allowed left no room for fake-few-shot." in record["reason"]


def test_test_rows_may_be_what_takes_too_much(tmp_path: Path, peaks: list[int]) -> None:
    peaks[:] = [1000, 3 * GB]
    record = run(
        plan(tmp_path, ["zero-shot"], budget=Limits(memory_gb=2)),
        out=tmp_path / "r",
        tools=World({planted.MODEL: FakeModel(context=400)}).tools(),
    )
    (zero,) = record["candidates"]
    assert zero["over_budget"] and zero["test"] is not None
    assert record["recommended"] is None and record["detail"]["front"] == []


def test_the_same_command_says_the_same_again(tmp_path: Path, peaks: list[int]) -> None:
    first = ran(tmp_path, 0.5)
    peaks[:] = [GB]
    other = World({planted.MODEL: FakeModel(context=400)}, resident=300_000_000)
    assert ran(tmp_path, 0.5, other) == first


def test_no_peak_counts_what_work_before_it_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Told(FakePeak):
        def __enter__(self) -> FakePeak:
            told.append("peak")
            return super().__enter__()

    monkeypatch.setattr("tutelage.lifecycle.bench.release", lambda: told.append("freed"))
    monkeypatch.setattr("tutelage.lifecycle.answering.Peak", Told)
    monkeypatch.setattr("tutelage.lifecycle.forgetting.Peak", Told)
    ran(tmp_path, None)
    before = [told[place - 1] for place, one in enumerate(told) if one == "peak"]
    assert len(before) > 3 and set(before) == {"freed"}
