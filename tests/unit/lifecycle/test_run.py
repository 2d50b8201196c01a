"""Runs as a whole on fakes: going on after a kill, damage, two at once, what lies in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.contract_run import planted
from tests.unit.lifecycle.fakes import World
from tutelage import store
from tutelage.cli.compare import compare
from tutelage.errors import BusyError, DataError
from tutelage.lifecycle.project import Limits, Project, Rows, Search
from tutelage.lifecycle.record import Record
from tutelage.lifecycle.run import run

TIMES = {"seconds", "seconds_spent", "measuring_seconds", "seconds_per_1000_answers"}
TIMES |= {"wall_seconds", "peak_bytes"}
KILLED = 9


def small(folder: Path, rungs: list[str], limits: Limits | None = None) -> Project:
    """A planted project that runs in a fraction of a second."""
    rows, _ = planted.label_map(12)
    plan = planted.project(folder, rows[:160], goal=0.5)
    task = plan.task.model_copy(
        update={"rows": Rows(train=60, development=12, test=12), "metric": "exact_match"}
    )
    return plan.model_copy(
        update={"task": task, "search": Search(rungs=rungs), "budget": limits or Limits()}
    )


def world() -> World:
    _, model = planted.label_map(12)
    return planted.world(model)


def timeless(value: Any) -> Any:
    """The record without what a clock or the memory says."""
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the goal metric, and no waiting for the disk: a killed process, unlike a machine that
    loses power, leaves what it wrote with the kernel."""
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr("gc.collect", lambda: 0)


def test_running_again_changes_nothing_and_does_nothing(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "few-shot", "lora"])
    first = run(plan, out=tmp_path / "run", tools=world().tools())
    files = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*.json")}
    again = world()
    second = run(plan, out=tmp_path / "run", tools=again.tools())
    assert second == first
    assert again.clock.seconds == 0
    assert again.tunings == [] and again.notes == []
    clock = tmp_path / "run" / "clock.json"
    assert {f: d for f, d in files.items() if f != clock} == {
        f: f.read_bytes() for f in (tmp_path / "run").rglob("*.json") if f != clock
    }


def test_the_folder_holds_what_the_contract_names(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "lora", "full"])
    out = tmp_path / "run"
    record = run(plan, out=out, tools=world().tools())
    Record.model_validate(record)
    assert json.loads((out / "record.json").read_text()) == record
    assert (out / "report.html").is_file() and (out / "CARD.md").is_file()
    program = json.loads((out / "model" / "tutelage.json").read_text())
    assert program["base"] == planted.MODEL and program["rung"] == "lora"
    assert (out / "model" / "adapter" / "learned.json").is_file()
    store.verify(out / "model")
    for candidate in record["candidates"]:
        assert (out / "candidates" / candidate["name"] / "candidate.json").is_file()


def test_a_prompt_program_is_published_with_its_turns(tmp_path: Path) -> None:
    rows, model = planted.label_map(4)
    plan = planted.project(tmp_path, rows[:200], goal=0.5)
    plan = plan.model_copy(update={"search": Search(rungs=["few-shot"])})
    run(plan, out=tmp_path / "run", tools=planted.world(model).tools())
    program = json.loads((tmp_path / "run" / "model" / "tutelage.json").read_text())
    assert program["adapter"] is None and program["rung"] == "few-shot"
    assert [turn["role"] for turn in program["messages"][:2]] == ["user", "assistant"]


def test_runs_are_compared_by_what_they_recommend(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "few-shot"])
    weak = run(small(tmp_path, ["zero-shot"]), out=tmp_path / "weak", tools=world().tools())
    strong = run(plan, out=tmp_path / "strong", tools=world().tools())
    found = compare(tmp_path / "strong", tmp_path / "weak")
    values = [
        next(
            one["test"]["exact_match"]["value"]
            for one in record["candidates"]
            if one["name"] == record["recommended"]["candidate"]
        )
        for record in (strong, weak)
    ]
    assert found["difference"] == pytest.approx(values[0] - values[1])
    assert found["n"] == 12
    assert compare(tmp_path / "weak", tmp_path / "weak")["verdict"] == "cannot tell"


def test_a_damaged_stage_and_a_damaged_adapter_are_named_and_redone(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "lora"])
    out = tmp_path / "run"
    first = run(plan, out=out, tools=world().tools())
    stage = next((out / "stages").glob("development-base-*")) / "result.json"
    stage.write_bytes(stage.read_bytes()[:-20])
    adapter = next((out / "candidates").glob("*-lora")) / "adapter" / "learned.json"
    flipped = bytearray(adapter.read_bytes())
    flipped[5] ^= 1
    adapter.write_bytes(bytes(flipped))
    again = world()
    second = run(plan, out=out, tools=again.tools())
    assert any(str(stage) in note for note in again.notes)
    assert any(str(adapter) in note for note in again.notes)
    assert again.tunings == ["lora from step 0"]
    assert timeless(second) == timeless(first)
    store.verify(adapter.parent)


def test_a_damaged_page_is_written_again(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot"])
    run(plan, out=tmp_path / "run", tools=world().tools())
    page = tmp_path / "run" / "report.html"
    good = page.read_bytes()
    page.write_bytes(good[:10])
    (tmp_path / "run" / "CARD.md").unlink()
    run(plan, out=tmp_path / "run", tools=world().tools())
    assert page.read_bytes() == good and (tmp_path / "run" / "CARD.md").is_file()


def test_a_cut_off_clock_loses_the_minutes_spent_and_nothing_else(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "lora"], Limits(minutes=10))
    first = run(plan, out=tmp_path / "run", tools=world().tools())
    (tmp_path / "run" / "clock.json").write_text('{"seconds_spe')
    again = world()
    second = run(plan, out=tmp_path / "run", tools=again.tools())
    assert second == first and again.tunings == []
    (note,) = again.notes
    assert "clock.json is damaged" in note and "its 10 minutes begin anew" in note


def test_other_rows_are_other_work(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot", "lora"])
    run(plan, out=tmp_path / "run", tools=world().tools())
    data = Path(str(plan.task.data))
    data.write_text(data.read_text().replace("label1", "other1"))
    again = world()
    record = run(plan, out=tmp_path / "run", tools=again.tools())
    assert again.tunings == ["lora from step 0"]
    learned = tmp_path / "run" / "model" / "adapter" / "learned.json"
    assert "other1" in learned.read_text() and record["recommended"]["rung"] == "lora"


def test_a_second_run_on_the_folder_is_refused_with_the_holder(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot"])
    with store.lock(tmp_path / "run"), pytest.raises(BusyError) as raised:
        run(plan, out=tmp_path / "run", tools=world().tools())
    assert str(os.getpid()) in str(raised.value)


def test_fresh_starts_beside_it(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot"])
    first = run(plan, out=tmp_path / "run", tools=world().tools())
    second = run(plan, out=tmp_path / "run", fresh=True, tools=world().tools())
    third = run(plan, out=tmp_path / "run", fresh=True, tools=world().tools())
    names = [Path(record["run"]).name for record in (first, second, third)]
    assert names == ["run", "run-2", "run-3"]


def test_killed_over_and_over_it_ends_as_if_undisturbed(tmp_path: Path, quick: None) -> None:
    """Every process is ended without warning after one to two stages' worth of durable operations,
    at ever other places; the same call, again and again, ends at an undisturbed run's record."""
    plan = small(tmp_path, ["zero-shot", "lora"])
    expected = timeless(_relative(run(plan, out=tmp_path / "calm", tools=world().tools())))
    kills, attempts = 0, 0
    while not _survives(plan, tmp_path / "run", after=14 + attempts % 11):
        kills += 1
        attempts += 1
        assert attempts < 100, "the run makes no progress"
    assert kills > 10
    quiet = world()
    record = run(plan, out=tmp_path / "run", tools=quiet.tools())
    assert timeless(_relative(record)) == expected
    assert quiet.tunings == [] and quiet.clock.seconds == 0
    for made in (tmp_path / "calm" / "model").rglob("*.json"):
        twin = tmp_path / "run" / made.relative_to(tmp_path / "calm")
        assert twin.read_bytes() == made.read_bytes()
    assert not list((tmp_path / "run").rglob(".tmp-*"))


@pytest.mark.parametrize(
    "stride", [pytest.param(17, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)]
)
def test_killed_once_at_any_operation_it_redoes_no_finished_stage(
    tmp_path: Path, quick: None, stride: int
) -> None:
    plan = small(tmp_path, ["zero-shot", "lora"])
    expected = timeless(_relative(run(plan, out=tmp_path / "calm", tools=world().tools())))
    for operation in range(1, 1000, stride):
        out = tmp_path / f"run-{operation}"
        ended = _survives(plan, out, after=operation)
        before = _stamps(out)
        record = run(plan, out=out, tools=world().tools())
        after = _stamps(out)
        assert {name: after[name] for name in before} == before
        assert timeless(_relative(record)) == expected
        if ended:
            return
    raise AssertionError("the run has more operations than were tried")


def test_rows_without_an_answer_are_refused(tmp_path: Path) -> None:
    plan = small(tmp_path, ["zero-shot"])
    data = Path(str(plan.task.data))
    data.write_text("\n".join(json.dumps({"text": f"some text {n}"}) for n in range(40)))
    with pytest.raises(DataError, match="holds no usable row") as raised:
        run(plan, out=tmp_path / "run", tools=world().tools())
    assert "40 no-answer" in str(raised.value.got) and "rows.jsonl:1" in str(raised.value.hint)


def _stamps(out: Path) -> dict[str, int]:
    """Finished stages and when each was made."""
    manifests = (out / "stages").glob("[!.]*/" + store.MANIFEST)
    return {file.parent.name: file.stat().st_mtime_ns for file in manifests}


def _relative(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its own folder's name taken out of every path."""
    text = json.dumps(record).replace(record["run"], "RUN")
    return dict(json.loads(text))


def _survives(plan: Project, out: Path, after: int) -> bool:
    """Run in a child that ends without warning before its durable operation number `after`."""
    child = os.fork()
    if child == 0:
        count = 0

        def before(operation: str, path: Path) -> None:
            nonlocal count
            count += 1
            if count >= after:
                os._exit(KILLED)

        store.before = before
        try:
            run(plan, out=out, tools=world().tools())
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"the child failed with {code}"
    return code == 0
