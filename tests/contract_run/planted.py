"""Three tasks whose right rung is known beforehand: their rows, and a fake world that does them."""

from __future__ import annotations

from pathlib import Path

from tests.unit.lifecycle.fakes import FakeModel, World, write_rows
from tutelage.lifecycle.project import Limits, Models, Project, Rows, Search, Task

MODEL = "pypi:llm-fake"
RUNGS = ["zero-shot", "one-shot", "few-shot", "lora", "full", "lora+few-shot"]
NOISE = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "ledge",
]


def copying() -> tuple[list[tuple[str, str]], FakeModel]:
    """The answer is the key itself, which any model can give."""
    rows = [(f"copy {NOISE[n % 12]} {NOISE[n // 12]} w{n}", f"w{n}") for n in range(140)]
    return rows, FakeModel(knows=lambda key: key)


def label_map(entries: int) -> tuple[list[tuple[str, str]], FakeModel]:
    """Every key has an invented label; rows differ in words around the key."""
    rows = [
        (f"label {NOISE[n % 12]} {NOISE[n // 12 % 12]} {n} k{n % entries}", f"label{n % entries}")
        for n in range(60 * 10)
    ]
    return rows, FakeModel(context=400)


def project(folder: Path, rows: list[tuple[str, str]], goal: float | None = 0.8) -> Project:
    return Project(
        name="planted",
        task=Task(
            data=write_rows(folder / "rows.jsonl", rows),
            metric="exact_match",
            goal=goal,
            rows=Rows(train=len(rows) // 2, development=30, test=40),
        ),
        models=Models(candidates=[MODEL]),
        budget=Limits(),
        search=Search(rungs=RUNGS),
    )


def world(model: FakeModel) -> World:
    return World({MODEL: model})
