"""One run: from a project to a record, a report, a card and a model that loads.

    record = run(project, out=Path("runs/mine"))

Holds the folder's lock, sweeps what killed writers left, and goes on where the last process
stopped. Knows the order of things; what they are is in the other files of this folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.data.retention import Retention
from tutelage.errors import ConfigError, DamagedError, DataError
from tutelage.evaluate.file import as_file
from tutelage.lifecycle import assemble, project, publish
from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.budget import Clock
from tutelage.lifecycle.choose import Verdict
from tutelage.lifecycle.contender import Contender
from tutelage.lifecycle.ladder import Climbed, Ladder
from tutelage.lifecycle.learned import beside
from tutelage.lifecycle.material import prepare
from tutelage.lifecycle.project import Project
from tutelage.lifecycle.prompting import shown_turns
from tutelage.lifecycle.stages import Stage, Stages
from tutelage.lifecycle.tools import Tools

RUNS = Path("runs")
RECORD = "record.json"
RECORDING = ("tutelage.lifecycle.assemble",)
SHOWING = ("tutelage.lifecycle.report", "tutelage.lifecycle.card")
Told = Callable[[Contender, Clock], None]


def run(
    wanted: Project | Path | None = None,
    *,
    out: Path | None = None,
    fresh: bool = False,
    tools: Tools | None = None,
    told: Told = lambda contender, clock: None,
) -> dict[str, Any]:
    """Run a project (a file, its folder, or the quickstart) and return its record.

    Raises BusyError if another process runs in the folder, ConfigError and DataError for a project
    that cannot be run. Killed at any moment, the same call goes on.
    """
    plan = wanted if isinstance(wanted, Project) else project.find(wanted)
    folder = _folder(plan, out, fresh)
    if tools is None:
        from tutelage.lifecycle.compose import real_tools

        tools = real_tools(plan)
    with store.lock(folder):
        store.sweep(folder)
        return _run(plan, folder, tools, told)


def _run(plan: Project, folder: Path, tools: Tools, told: Told) -> dict[str, Any]:
    facts = {source: tools.describe(source) for source in plan.models.candidates}
    material = prepare(plan.task, plan.search.seed, tools.load_rows)
    clock = Clock(
        folder / "clock.json", plan.budget.minutes, tools.now, tools.beat_seconds, tools.note
    )
    stages = Stages(folder / "stages", tools.environment, tools.note, after=clock.mark)
    retention = _retention(tools, plan.forgetting.retention)
    others = beside(plan, material, tools.load_rows)
    material = replace(material, notes=(*material.notes, *others.notes))
    bench = Bench(plan, material, tools, stages, clock, facts, folder, retention, others)
    with clock:
        ladder = Ladder(bench, lambda contender: told(contender, clock))
        climbed = ladder.climb()
        chosen = assemble.verdict(bench, climbed)
        record = _recorded(bench, climbed, chosen)
        _publish(bench, climbed, record)
    return record


def _recorded(bench: Bench, climbed: Climbed, chosen: Verdict) -> dict[str, Any]:
    """The record, the same bytes whenever nothing it says has changed."""
    begun = {"project": bench.project.model_dump(), "data": bench.material.digest()}
    dated = Stage("begun", begun, lambda: {"created": bench.tools.date()})
    created = bench.stages.run(dated)["created"]
    new = assemble.record(bench, climbed, chosen, created)
    timeless = {key: value for key, value in new.items() if key not in ("seconds", "detail")}
    budget = {**new["detail"]["budget"], "seconds_spent": None}
    inputs = {**timeless, "detail": {**new["detail"], "budget": budget}}
    return bench.stages.run(Stage("record", inputs, lambda: new, RECORDING))


def _publish(bench: Bench, climbed: Climbed, record: Mapping[str, Any]) -> None:
    """Model, project, report, card, and last the record: where it lies, the rest lies too."""
    folder = bench.folder
    for one in record["candidates"]:
        _write_if_new(assemble.placed(folder, one["name"]) / "candidate.json", _text(one))
    for contender in climbed.contenders:
        _keep_evaluations(contender, assemble.placed(folder, contender.name), record)
    recommended = record["recommended"]
    if recommended is not None:
        name = recommended["candidate"]
        one = next(each for each in climbed.contenders if each.name == name)
        method, facts = one.rung.method, bench.facts[one.model]
        turns = shown_turns(one.examples)
        described = publish.program(
            one.model, method, turns, one.rung.name, facts.base, facts.on_top, bench.seed
        )
        publish.publish(folder / "model", described, one.artefact)
    _write_if_new(folder / project.FILE, project.as_toml(bench.project))
    _pages(bench, record)
    _write_if_new(folder / RECORD, _text(record))


def _keep_evaluations(one: Contender, folder: Path, record: Mapping[str, Any]) -> None:
    """Each evaluation as a file that `tutelage compare` reads."""
    task = str(record["detail"]["data"]["source"])
    for part, found in (("development", one.development), ("test", one.test)):
        if found is not None:
            evaluation = as_file(found, one.name, task, one.shots)
            _write_if_new(folder / f"{part}.json", _text(evaluation))


def _pages(bench: Bench, record: Mapping[str, Any]) -> None:
    folder = bench.folder

    def make() -> dict[str, Any]:
        written = bench.tools.write_pages(dict(record), folder)
        return {file.name: store.sha256(file) for file in written}

    def check(hashes: dict[str, Any]) -> None:
        for name, expected in hashes.items():
            if not (folder / name).is_file() or store.sha256(folder / name) != expected:
                raise DamagedError(f"{folder / name} is not what was written", field=name)

    inputs = {"record": store.digest(dict(record))}
    bench.stages.run(Stage("pages", inputs, make, SHOWING, check))


def _write_if_new(file: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if file.read_text(encoding="utf-8") == text:
            return
    store.write_text(file, text)


def _text(value: Any) -> str:
    return store.to_json(value) + "\n"


def _retention(tools: Tools, named: str | None) -> Retention | None:
    """None where there is no text; what the project names must be there."""
    if tools.retention is None:
        return None
    try:
        return tools.retention()
    except DataError as error:
        if named is not None:
            raise
        tools.note(f"forgetting is not measured: {error.message}")
        return None


def _folder(plan: Project, out: Path | None, fresh: bool) -> Path:
    """Where the run lives; with `fresh` the first free NAME-2, NAME-3 ... beside it."""
    folder = out or RUNS / plan.name
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder", field="--out", got=folder, expected="a folder for the run"
        )
    if not fresh or not folder.exists():
        return folder
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return folder.with_name(f"{folder.name}-{number}")
