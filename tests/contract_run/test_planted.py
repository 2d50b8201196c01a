"""The ladder recommends what is known to be right, on tasks planted for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract_run import planted
from tutelage.lifecycle.project import Limits
from tutelage.lifecycle.record import Record
from tutelage.lifecycle.run import run


def outcome(folder: Path, rows: Any, model: Any, **changes: Any) -> dict[str, Any]:
    project = planted.project(folder, rows).model_copy(update=changes)
    record = run(project, out=folder / "run", tools=planted.world(model).tools())
    Record.model_validate(record)
    return record


def test_copying_needs_no_examples_and_no_tuning(tmp_path: Path) -> None:
    record = outcome(tmp_path, *planted.copying())
    assert record["recommended"]["rung"] == "zero-shot"
    assert record["status"] == "done"


def test_a_small_invented_map_is_explained_by_examples(tmp_path: Path) -> None:
    record = outcome(tmp_path, *planted.label_map(8))
    assert record["recommended"]["rung"] == "few-shot"
    chosen = next(c for c in record["candidates"] if c["rung"] == "few-shot")
    tried = record["detail"]["candidates"][chosen["name"]]["tried"]
    assert {each["shots"] for each in tried} == {2, 4, 8, 16}
    best = max(tried, key=lambda each: (each["value"] or 0, -each["shots"]))
    assert chosen["name"].endswith(f"-{best['shots']}")


def test_a_map_larger_than_the_prompt_is_only_reached_by_tuning(tmp_path: Path) -> None:
    record = outcome(tmp_path, *planted.label_map(60))
    assert record["recommended"]["rung"] == "lora"
    test = {c["rung"]: c["test"] for c in record["candidates"]}
    assert test["few-shot"] is None or test["few-shot"]["exact_match"]["high"] < 0.8


def test_a_goal_out_of_reach_with_a_tiny_budget_is_said(tmp_path: Path) -> None:
    rows, model = planted.label_map(60)
    record = outcome(tmp_path, rows, model, budget=Limits(minutes=0.3))
    assert record["status"] == "budget too small"
    assert record["reason"].startswith("Goal not reached")
    assert "Too few of the minutes were left for" in record["reason"]
    skipped = {c["rung"]: c["reason"] for c in record["candidates"] if c["status"] == "skipped"}
    assert {"lora", "full"} <= set(skipped)
    assert "tuning takes about 10 s" in skipped["lora"]
    assert record["recommended"] is not None
    assert record["seconds"] <= 0.3 * 60


def test_a_goal_out_of_reach_without_a_budget_is_said(tmp_path: Path) -> None:
    rows, model = planted.label_map(60)
    rows = [(prompt, f"{answer} {n}") for n, (prompt, answer) in enumerate(rows)]
    record = outcome(tmp_path, rows, model)
    assert record["status"] == "goal not reached"
    assert "Goal not reached" in record["reason"]
