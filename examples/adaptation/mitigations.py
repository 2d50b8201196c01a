"""What helps against forgetting, side by side: the same tuning on first lines of docstrings with
SmolLM2-135M as it is, and with each of five mitigations.

    several tasks           as many rows of two others among them, all in as many updates
    replay                  a tenth of the rows are general text         Robins 1995
    pull to the start       L2-SP                                        Li et al. 2018
    weight interpolation    half of the way is taken back, WiSE-FT       Wortsman et al. 2022
    lower rank              of LoRA's updates

Of each what the task gained and what was lost elsewhere. The learning rate is the one that was best
for the method in the comparison there, so that a mitigation alone differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from methods import best_rate, once, untuned
from studies import Place
from tasks import Task, task

from tutelage.data.replay import replay
from tutelage.data.rows import Row
from tutelage.data.tasks import mixed, replayed
from tutelage.train.config import TuneConfig

Json = dict[str, Any]
GENERAL, SHARE = "builtin:stdlib-docs", 0.1
WAYS: dict[str, Json] = {
    "full": {"method": "full"},
    "full, replay": {"method": "full"},
    "full, three tasks": {"method": "full"},
    "full, pulled": {"method": "full", "pull": 100.0},
    "full, half the way": {"method": "full", "interpolate": 0.5},
    "lora, R = 16": {"method": "lora", "options": {"rank": 16}},
    "lora, R = 2": {"method": "lora", "options": {"rank": 2}},
}


def _with_general(made: Task, place: Place) -> tuple[Row, ...]:
    return replayed(made.train, replay(GENERAL, None), SHARE)


def _three_tasks(made: Task, place: Place) -> tuple[Row, ...]:
    """With summaries of dialogues, and the tags of names in short texts written out."""
    others = {name: task(name, place).train for name in ("dialogues", "ner")}
    return mixed({"docstrings": made.train, **others}, cap=len(made.train))[0]


ROWS: dict[str, Callable[[Task, Place], tuple[Row, ...]]] = {
    "full, replay": _with_general, "full, three tasks": _three_tasks,
}  # fmt: skip
"""Ways that learn from other rows too."""


def run(place: Place) -> Json:
    """Quality and what was lost of every way; of those that are not done None."""
    made = task("docstrings", place)
    before = untuned(made, place)
    rates = {method: best_rate(place, "docstrings", method) for method in ("full", "lora")}
    ways = {
        name: _way(made, name, {**way, "learning_rate": rates[way["method"]]}, place)
        for name, way in WAYS.items()
    }
    return {
        "model": made.model, "metric": made.metric, "steps": made.steps, "rates": rates,
        "rows": {"train": len(made.train), "test": len(made.test)},
        "before": None if before is None else before["quality"], "ways": ways,
    }  # fmt: skip


def _way(made: Task, name: str, way: Json, place: Place) -> Json | None:
    file = place.work / (name.replace(", ", "-").replace(" ", "") + ".json")
    if name in ROWS and not place.so_far:
        made = Task(**{**vars(made), "train": ROWS[name](made, place)})
    config = TuneConfig(steps=made.steps, batch_tokens=made.batch_tokens, save_seconds=1e6, **way)
    return once(made, file, config, place)
