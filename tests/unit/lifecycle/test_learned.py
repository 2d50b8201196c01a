"""Other tasks' and general rows beside a project's own, and how its rungs tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle.fakes import World
from tests.unit.lifecycle.test_ladder import by_rung, plan, world
from tutelage.errors import ConfigError, UnknownName
from tutelage.lifecycle import project
from tutelage.lifecycle.project import Project, Search, Tuning
from tutelage.lifecycle.run import run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    monkeypatch.setattr("os.fsync", lambda handle: None)


class Seen(World):
    """Remembers what tuning was asked for."""

    def __init__(self, made: World) -> None:
        super().__init__(made.models)
        self.asked: list[tuple[list[Any], dict[str, Any]]] = []

    def tune(self, source: str, rows: Any, settings: Any, out: Path, **how: Any) -> dict[str, Any]:
        self.asked.append((list(rows), dict(settings)))
        return super().tune(source, rows, settings, out, **how)


def other(folder: Path, count: int, more: list[dict[str, str]] | None = None) -> str:
    lines = [
        {"prompt": f"other thing {n}", "completion": f"other answer {n}"} for n in range(count)
    ]
    file = folder / "other.jsonl"
    file.write_text("\n".join(map(json.dumps, [*lines, *(more or [])])), encoding="utf-8")
    return str(file)


def asked(folder: Path, **tuning: Any) -> tuple[Project, list[Any], dict[str, Any], dict[str, Any]]:
    """The project, and rows and settings that its one tuning was asked for, and the record."""
    folder.mkdir(exist_ok=True)
    made = plan(folder, rungs=["zero-shot", "lora"], tuning=Tuning(**tuning))
    seen = Seen(world())
    record = run(made, out=folder / "r", tools=seen.tools())
    rows, settings = seen.asked[0]
    return made, rows, settings, record


def test_a_mixture_is_in_proportion_and_replay_is_its_share(tmp_path: Path) -> None:
    source = other(tmp_path, 40)
    _, rows, _, _ = asked(tmp_path, mixture=[source], cap=50, replay=source, replay_share=0.25)
    names = [row.id.startswith(source) for row in rows]
    # 100 of the task's capped at 50, all 40 of the other's, and 30 of 120 rows replayed
    assert len(rows) == 120 and sum(names) == 40 + 30
    assert len([row for row in rows if not row.id.startswith(source)]) == 50


def test_rows_beside_that_give_a_row_away_are_removed_and_told(tmp_path: Path) -> None:
    made, plain, _, record = asked(tmp_path / "plain")
    held = record["detail"]["samples"][0]
    told = {"prompt": held["prompt"], "completion": held["reference"]}
    _, rows, _, record = asked(tmp_path / "mixed", mixture=[other(tmp_path, 10, [told])])
    assert len(rows) == len(plain) + 10
    assert held["prompt"] not in {row.messages[-1].content for row in rows}
    assert any("1 rows of" in note for note in record["detail"]["data"]["notes"])
    assert made.tuning == Tuning()


def test_rungs_tune_as_the_project_says(tmp_path: Path) -> None:
    options = {"lora": {"rank": 4}, "ia3": {}}
    _, _, settings, _ = asked(tmp_path, steps=7, pull=2.0, interpolate=0.5, options=options)
    assert settings == {
        "method": "lora", "seed": 0, "steps": 7, "pull": 2.0, "interpolate": 0.5,
        "options": {"rank": 4},
    }  # fmt: skip


def test_other_settings_are_other_work(tmp_path: Path) -> None:
    """A stage that was done with other settings is not taken for this one."""
    made = plan(tmp_path, rungs=["zero-shot", "lora"])
    seen = Seen(world())
    for steps in (None, 5, 5):
        run(
            made.model_copy(update={"tuning": Tuning(steps=steps)}),
            out=tmp_path / "r", tools=seen.tools(),
        )  # fmt: skip
    assert [settings.get("steps") for _, settings in seen.asked] == [None, 5]


def test_what_tuning_cost_elsewhere_is_in_the_record(tmp_path: Path) -> None:
    made = plan(tmp_path, rungs=["zero-shot", "lora", "lora+few-shot"])
    record = run(made, out=tmp_path / "r", tools=world().tools())
    found = by_rung(record)
    more = record["detail"]["candidates"]
    lora = more[found["lora"]["name"]]["general"]
    counted = {one["task"]: one["after"]["n"] for one in lora}
    assert counted["all"] == 32 and counted["sums"] == 8 and counted["instructions"] == 12
    assert more[found["lora+few-shot"]["name"]]["general"] == lora, "of the same weights"
    assert more[found["zero-shot"]["name"]]["general"] == []
    assert "32 easy questions" in record["detail"]["general"]


def test_nothing_asked_is_nothing_measured(tmp_path: Path) -> None:
    wanted = project.Forgetting(questions=0, instructions=0)
    made = plan(tmp_path, rungs=["zero-shot", "lora"], forgetting=wanted)
    record = run(made, out=tmp_path / "r", tools=world().tools())
    assert all(one["general"] == [] for one in record["detail"]["candidates"].values())
    assert record["detail"]["general"] == "nothing"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[tuning]\nhead = "clasification"', "tuning.head"),
        ("[tuning]\nsteps = 3\nepochs = 1", "tuning"),
        ("[tuning]\ncap = 3", "tuning"),
        ("[tuning]\noptions = { lorra = { rank = 4 } }", "tuning.options"),
        ("[tuning]\nreplay_share = 1.0", "tuning.replay_share"),
        ("[forgetting]\nquestions = -1", "forgetting.questions"),
    ],
)
def test_a_wrong_key_is_named(text: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "project.toml"
    head = 'name = "n"\n[task]\ndata = "rows.jsonl"\n[models]\ncandidates = ["scripted:s"]\n'
    file.write_text(head + text, encoding="utf-8")
    with pytest.raises((ConfigError, UnknownName)) as raised:
        project.load(file)
    assert field in str(raised.value.field)


def test_a_model_with_a_head_is_shown_no_examples(tmp_path: Path) -> None:
    made = plan(tmp_path, rungs=["zero-shot", "lora"])
    values = made.model_dump() | {"tuning": {"head": "classification"}}
    Project.model_validate(values)
    values["search"] = Search(rungs=["lora+few-shot"]).model_dump()
    with pytest.raises(ValueError, match="no examples"):
        Project.model_validate(values)


def test_the_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    tuning = Tuning(mixture=["/a.jsonl"], options={"lora": {"rank": 4, "roles": ["attn.q"]}})
    made = plan(tmp_path, tuning=tuning)
    file = tmp_path / "again.toml"
    file.write_text(project.as_toml(made), encoding="utf-8")
    assert project.load(file) == made
