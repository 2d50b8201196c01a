"""The climb under limits: skipped, stopped, gone on, dropped; and what is compared with what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract_run import planted
from tests.unit.lifecycle.fakes import FakeModel, World, write_rows
from tutelage import store
from tutelage.errors import DataError, GuardError, MemoryLimitError
from tutelage.evaluate.statistics import holm
from tutelage.lifecycle import comparisons
from tutelage.lifecycle.project import Limits, Models, Project, Rows, Search
from tutelage.lifecycle.record import Record
from tutelage.lifecycle.run import run
from tutelage.lifecycle.tools import Facts

RUNGS = ["zero-shot", "few-shot", "lora", "full", "lora+few-shot"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the goal metric and no waiting for the disk: what is tested is the order of things."""
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    monkeypatch.setattr("os.fsync", lambda handle: None)


def plan(folder: Path, rungs: list[str] = RUNGS, **changes: Any) -> Project:
    rows, _ = planted.label_map(40)
    made = planted.project(folder, rows[:300], goal=0.7)
    task = made.task.model_copy(update={"rows": Rows(train=100, development=20, test=20)})
    return made.model_copy(update={"task": task, "search": Search(rungs=rungs), **changes})


def world(**changes: Any) -> World:
    return World({planted.MODEL: FakeModel(context=400)}, **changes)


def by_rung(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    Record.model_validate(record)
    return {one["rung"]: one for one in record["candidates"]}


def test_a_rung_that_cannot_fit_is_skipped_with_the_numbers(tmp_path: Path) -> None:
    limits = Limits(minutes=1)
    record = run(
        plan(tmp_path, budget=limits), out=tmp_path / "r",
        tools=world(predicted_seconds=300.0).tools(),
    )  # fmt: skip
    lora = by_rung(record)["lora"]
    assert lora["status"] == "skipped"
    assert "tuning takes about 5 min 0 s" in lora["reason"]
    assert "of 1 minutes" in lora["reason"] and "s are left" in lora["reason"]
    assert record["status"] == "budget too small"  # time was left, and too little of it
    assert "Too few of the minutes were left for fake-lora" in record["reason"]
    assert "ended" not in record["reason"]
    dependent = by_rung(record)["lora+few-shot"]["reason"]
    assert "lora was not tuned" in dependent and "tuning takes about 5 min 0 s" in dependent
    assert record["seconds"] <= 60


def test_one_that_overruns_is_stopped_with_its_checkpoint_and_more_minutes_go_on(
    tmp_path: Path,
) -> None:
    slow = world(predicted_seconds=1.0, step_seconds=12.0)
    record = run(
        plan(tmp_path, ["zero-shot", "lora"], budget=Limits(minutes=1)),
        out=tmp_path / "r",
        tools=slow.tools(),
    )
    lora = by_rung(record)["lora"]
    assert lora["status"] == "stopped" and lora["test"] is None
    assert "of 6 steps" in lora["reason"] and "checkpoint is kept" in lora["reason"]
    assert record["status"] == "budget spent" and "Goal not reached" in record["reason"]
    assert "The minutes ended before all of fake-lora was done." in record["reason"]
    assert record["seconds"] <= 60 + 12
    done = int(lora["reason"].split()[2])
    again = world(predicted_seconds=1.0, step_seconds=12.0)
    same = run(
        plan(tmp_path, ["zero-shot", "lora"], budget=Limits(minutes=1)),
        out=tmp_path / "r",
        tools=again.tools(),
    )
    assert again.tunings == [] and same == record
    more = world(predicted_seconds=1.0, step_seconds=12.0)
    longer = run(
        plan(tmp_path, ["zero-shot", "lora"], budget=Limits(minutes=10)),
        out=tmp_path / "r",
        tools=more.tools(),
    )
    assert more.tunings == [f"lora from step {done}"]
    assert by_rung(longer)["lora"]["status"] == "done" and longer["status"] == "done"
    assert longer["seconds"] > record["seconds"]


def test_what_a_checkpoint_holds_need_not_fit_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused and remembered; with five of six steps in a checkpoint, what is left fits."""

    def climb() -> tuple[World, dict[str, Any]]:
        quick = FakeModel(context=400, seconds_a_row=0.01)
        made = World({planted.MODEL: quick}, predicted_seconds=90.0)
        wanted = plan(tmp_path, ["zero-shot", "lora"], budget=Limits(minutes=1))
        return made, by_rung(run(wanted, out=tmp_path / "r", tools=made.tools()))["lora"]

    assert "about 90 s" in climb()[1]["reason"] and "about 90 s" in climb()[1]["reason"]
    monkeypatch.setattr("tutelage.lifecycle.tuning._same", lambda folder, key: True)
    state = tmp_path / "r/candidates/fake-lora/adapter.state"
    store.write_json(state / "step-00000005/progress.json", {"step": 5})
    made, done = climb()
    assert made.tunings == ["lora from step 5"] and done["status"] == "done"


def test_a_checkpoint_of_other_work_counts_for_nothing(tmp_path: Path) -> None:
    out = tmp_path / "r"
    candidates = out / "candidates" / "fake-lora"
    store.write_json(candidates / "key.json", {"key": "of other rows"})
    store.write_json(candidates / "adapter.state/step-00000005/progress.json", {"step": 5})
    wanted = plan(tmp_path, ["zero-shot", "lora"], budget=Limits(minutes=1))
    record = run(wanted, out=out, tools=world(predicted_seconds=90.0).tools())
    assert "about 90 s" in by_rung(record)["lora"]["reason"]


def test_the_minutes_hold_whatever_is_slow(tmp_path: Path) -> None:
    for minutes in (0.02, 0.1, 0.2, 0.5, 1.0):
        out = tmp_path / str(minutes)
        model = FakeModel(context=400, seconds_a_row=0.4)
        slow = World({planted.MODEL: model}, step_seconds=2.0)
        record = run(plan(tmp_path, budget=Limits(minutes=minutes)), out=out, tools=slow.tools())
        assert record["seconds"] <= minutes * 60 + 2.0, minutes
        ended = any("minutes are spent" in one["reason"] or "stopped" in one["reason"]
                    for one in record["candidates"])  # fmt: skip
        assert record["status"] == ("budget spent" if ended else "budget too small")


@pytest.mark.parametrize("error", [MemoryLimitError("too big"), GuardError("loss is not finite")])
def test_a_tuning_that_fails_its_guard_stops_that_candidate_alone(
    tmp_path: Path, error: Exception
) -> None:
    failing = world()
    tune = failing.tune

    def fails(source: str, rows: Any, settings: Any, out: Path, **more: Any) -> dict[str, Any]:
        if settings["method"] == "lora":
            raise error
        return tune(source, rows, settings, out, **more)

    failing.tune = fails  # type: ignore[method-assign]
    found = by_rung(run(plan(tmp_path), out=tmp_path / "r", tools=failing.tools()))
    assert found["lora"]["status"] == "stopped" and str(error.args[0]) in found["lora"]["reason"]
    assert found["full"]["status"] == "done"
    assert "was not tuned" in found["lora+few-shot"]["reason"]
    assert str(error.args[0]) in found["lora+few-shot"]["reason"]


def test_a_dominated_base_model_gets_no_dear_rung(tmp_path: Path) -> None:
    models = {
        "pypi:llm-good": FakeModel(knows=lambda key: "label" + key[1:], parameters=100),
        "pypi:llm-poor": FakeModel(parameters=1000),
    }
    wanted = plan(tmp_path, models=Models(candidates=list(models)))
    several = World(models)
    record = run(wanted, out=tmp_path / "r", tools=several.tools())
    Record.model_validate(record)
    found = {one["name"]: one for one in record["candidates"]}
    assert found["poor-lora"]["status"] == "skipped"
    assert "below good-zero-shot with 1.000" in found["poor-lora"]["reason"]
    assert found["good-lora"]["status"] == "done"
    assert several.tunings == ["lora from step 0", "full from step 0"]


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    models = {"hf:a/same": FakeModel(), "hf:b/same": FakeModel()}
    wanted = plan(tmp_path, ["zero-shot"], models=Models(candidates=list(models)))
    record = run(wanted, out=tmp_path / "r", tools=World(models).tools())
    assert [c["name"] for c in record["candidates"]] == ["same-zero-shot", "same-2-zero-shot"]


def test_a_model_without_weights_is_not_tuned(tmp_path: Path) -> None:
    tools = replace(world().tools(), describe=lambda source: Facts("x", weights=False))
    found = by_rung(run(plan(tmp_path), out=tmp_path / "r", tools=tools))
    assert "without weights" in found["lora"]["reason"]
    assert found["zero-shot"]["status"] == "done"


def test_nothing_is_tuned_on_an_adapter(tmp_path: Path) -> None:
    facts = Facts("x", parameters=10, on_top="print of an adapter", adapter=True)
    tools = replace(world().tools(), describe=lambda source: facts)
    found = by_rung(run(plan(tmp_path), out=tmp_path / "r", tools=tools))
    for rung in ("lora", "full", "lora+few-shot"):
        assert found[rung]["status"] == "skipped"
        assert "recommends an adapter, which cannot be tuned on" in found[rung]["reason"]
    assert found["zero-shot"]["predicted_peak_bytes"] is not None


def test_examples_that_do_not_fit_the_context_are_left_out_and_said(tmp_path: Path) -> None:
    narrow = World({planted.MODEL: FakeModel(context=50)})
    record = run(plan(tmp_path), out=tmp_path / "r", tools=narrow.tools())
    few = by_rung(record)["few-shot"]
    tried = record["detail"]["candidates"][few["name"]]["tried"]
    left_out = {each["shots"]: each["reason"] for each in tried if each["value"] is None}
    assert "context" in left_out[8]
    tiny = World({planted.MODEL: FakeModel(context=24)})
    record = run(plan(tmp_path), out=tmp_path / "r2", tools=tiny.tools())
    assert by_rung(record)["few-shot"]["status"] == "skipped"


def test_more_examples_are_not_tried_once_they_stopped_helping_and_it_is_said(
    tmp_path: Path,
) -> None:
    record = run(plan(tmp_path), out=tmp_path / "r", tools=world().tools())
    few = by_rung(record)["few-shot"]
    tried = record["detail"]["candidates"][few["name"]]["tried"]
    measured = [each for each in tried if each["value"] is not None]
    last = tried[-1]
    if last["value"] is None:
        assert last["reason"].startswith("not tried")
        assert measured[-1]["value"] <= max(each["value"] for each in measured[:-1])
    else:
        assert [each["shots"] for each in tried] == [2, 4, 8, 16]


def test_rows_longer_than_the_context_are_set_aside_and_counted(tmp_path: Path) -> None:
    wanted = plan(tmp_path, ["zero-shot"])
    rows, _ = planted.label_map(40)
    long = [(" ".join(["word"] * 500) + f" k{n}", "label") for n in range(30)]
    write_rows(Path(str(wanted.task.data)), rows[:200] + long)
    record = run(wanted, out=tmp_path / "r", tools=world().tools())
    data = record["detail"]["data"]
    assert data["set_aside"]["too-long"] > 0
    assert data["rows_in"] == data["rows_used"] + sum(data["set_aside"].values())


def test_test_rows_that_stand_in_training_rows_are_removed_and_counted(tmp_path: Path) -> None:
    rows, _ = planted.label_map(40)
    wanted = plan(tmp_path, ["zero-shot"])
    task = wanted.task.model_copy(
        update={
            "data": None,
            "train": write_rows(tmp_path / "train.jsonl", rows[:100]),
            "development": write_rows(tmp_path / "development.jsonl", rows[100:120]),
            "test": write_rows(tmp_path / "test.jsonl", rows[115:140] + rows[:4]),
            "rows": Rows(),
        }
    )
    record = run(
        wanted.model_copy(update={"task": task}), out=tmp_path / "r", tools=world().tools()
    )
    assert record["detail"]["data"]["contaminated"] == 4
    assert record["detail"]["data"]["test"] == 25


def test_forgetting_is_measured_for_what_was_tuned(tmp_path: Path) -> None:
    found = by_rung(run(plan(tmp_path), out=tmp_path / "r", tools=world().tools()))
    assert found["lora"]["forgetting"]["value"] == pytest.approx(0.5)
    assert found["lora+few-shot"]["forgetting"] == found["lora"]["forgetting"]
    assert found["zero-shot"]["forgetting"] is None


def test_comparisons_are_those_of_the_contract_and_corrected_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw: list[list[float]] = []

    def spy(p_values: list[float]) -> list[float]:
        raw.append(list(p_values))
        return holm(p_values)

    monkeypatch.setattr(comparisons, "holm", spy)
    record = run(plan(tmp_path), out=tmp_path / "r", tools=world().tools())
    found = by_rung(record)
    assert found["zero-shot"]["comparisons"] == []
    for rung, one in found.items():
        if rung != "zero-shot":
            against = [each["against"] for each in one["comparisons"]]
            assert against[0] == "fake-zero-shot" and len(against) <= 2
    everything = [each["p_value"] for one in found.values() for each in one["comparisons"]]
    assert any(sorted(holm(p)) == sorted(everything) and len(p) == len(everything) for p in raw)


def test_test_rows_are_only_asked_of_the_front_and_the_baseline(tmp_path: Path) -> None:
    record = run(plan(tmp_path), out=tmp_path / "r", tools=world().tools())
    for one in record["candidates"]:
        on_front = one["name"] in record["detail"]["front"] or one["rung"] == "zero-shot"
        assert (one["test"] is not None) == on_front


def test_making_and_measuring_are_told_apart(tmp_path: Path) -> None:
    """A row takes 0.1 s, 20 development and 20 test rows; a tuning takes 6 steps of 1 s."""
    made = world()
    record = run(plan(tmp_path), out=tmp_path / "r", tools=made.tools())
    found = by_rung(record)
    assert found["zero-shot"]["seconds"] == 0 and found["few-shot"]["seconds"] == 0
    assert found["zero-shot"]["measuring_seconds"] == pytest.approx(0.1 * (20 + 20))
    tried = record["detail"]["candidates"][found["few-shot"]["name"]]["tried"]
    asked = 20 * sum(each["value"] is not None for each in tried)
    asked += 20 * (found["few-shot"]["test"] is not None)
    assert found["few-shot"]["measuring_seconds"] == pytest.approx(0.1 * asked)
    assert found["lora"]["seconds"] == pytest.approx(6.0)
    assert found["lora+few-shot"]["seconds"] == pytest.approx(6.0)
    assert record["seconds"] > found["lora"]["seconds"]


def test_a_strict_run_refuses_a_row_longer_than_the_context(tmp_path: Path) -> None:
    wanted = plan(tmp_path, ["zero-shot"])
    rows, _ = planted.label_map(40)
    long = [(" ".join(["word"] * 500) + f" k{n}", "label") for n in range(30)]
    write_rows(Path(str(wanted.task.data)), rows[:200] + long)
    strict = replace(world().tools(), strict=True)
    with pytest.raises(DataError, match="too-long") as raised:
        run(wanted, out=tmp_path / "r", tools=strict)
    assert "rows.jsonl:2" in str(raised.value.field) and "the context holds 400" in str(
        raised.value
    )
    write_rows(Path(str(wanted.task.data)), rows[:200])
    assert run(wanted, out=tmp_path / "r", tools=strict)["status"]
