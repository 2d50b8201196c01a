"""Examples in the prompt beside tuning: what they bring a model before and after, and which of
their properties do it.

Two tasks are asked with and without three examples, by the model as it came and by the same one
tuned with LoRA at its default rate. Then toxic comments are told apart with eight examples of which
one property at a time is another: number, order, labels, inputs, template.

Source: of the properties Min et al. 2022, arXiv:2202.12837; of their order Lu et al. 2022,
arXiv:2104.08786. In the first twelve models answered almost as well where labels were random.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import numpy as np
from methods import once
from studies import Place
from tasks import DECODER, SMALL, Task, task

from tutelage import store
from tutelage.backends.open import open_lm
from tutelage.data.load import Loaded, load
from tutelage.evaluate import in_context
from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.selection import select
from tutelage.evaluate.statistics import compare
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.lm import LM
from tutelage.score import METRICS
from tutelage.train.config import TuneConfig

Json = dict[str, Any]
TASKS, SHOTS = ("docstrings", "dialogues"), 3
TOXIC, SHOWN, ASKED = "surge_toxicity/toxicity_en.csv", 8, 120
"""The comments' file, how many are shown, and how many asked under each condition."""


def run(place: Place) -> Json:
    """Quality of the four ways to ask on each task, with paired differences, and every property's
    accuracy; of what is not done None."""
    tasks = {name: _asked(_short(name, place), place) for name in TASKS}
    return {"shots": SHOTS, "tasks": tasks, "toxic": _properties(place)}


def _short(name: str, place: Place) -> Task:
    """In a smoke run the shortest rows, for a model of bytes with a small context."""
    made = task(name, place)
    if not place.smoke:
        return made
    whole = task(name, replace(place, smoke=False))
    rows = sorted((*whole.train, *whole.test), key=lambda row: len(str(row.as_json())))
    return Task(**{**vars(made), "test": tuple(rows[:4]), "train": tuple(rows[4:64])})


def _asked(made: Task, place: Place) -> Json | None:
    file = place.work / f"{made.name}.json"
    if file.is_file():
        return dict(store.read_json(file))
    worked, adapter = time.process_time(), place.work / f"{made.name}-lora"
    config = TuneConfig(
        method="lora", steps=made.steps, batch_tokens=made.batch_tokens, save_seconds=1e6
    )
    if once(made, adapter.with_suffix(".json"), config, place) is None:
        return None
    found: dict[str, Evaluation] = {}
    for name, folder in (("before", None), ("tuned", adapter)):
        lm = open_lm(made.model, adapter=folder, threads=place.threads)
        found[name] = _answered(lm, made, 0)
        found[f"{name}, shown"] = _answered(lm, made, place.count(SHOTS, 1))
    told = {
        "model": made.model, "metric": made.metric, "steps": made.steps, "n": len(made.test),
        "quality": {name: dict(one.measured[made.metric]) for name, one in found.items()},
        "tuned_over_shown": _gap(made, found["tuned"], found["before, shown"]),
        "shown_once_tuned": _gap(made, found["tuned, shown"], found["tuned"]),
        "processor_seconds": time.process_time() - worked,
    }  # fmt: skip
    store.write_json(file, told)
    return told


def _answered(lm: LM, made: Task, shots: int) -> Evaluation:
    test, train = (Loaded(rows, (), len(rows)) for rows in (made.test, made.train))
    longest = made.answer_tokens or 1
    found = select(lm, test, train, made.name, shots=shots, limit=None, max_new_tokens=longest)
    return evaluate_rows(lm, found.rows, found.examples, [made.metric], max_new_tokens=longest)


def _gap(made: Task, one: Evaluation, other: Evaluation) -> Json:
    """A paired difference."""
    both = (np.asarray(side.statistics[made.metric]) for side in (one, other))
    found = compare(*both, METRICS.get(made.metric).aggregate, 0)
    return {"value": found.difference, "low": found.low, "high": found.high, "p": found.p_value}


def _properties(place: Place) -> Json | None:
    file = place.work / "toxic.json"
    if file.is_file():
        return dict(store.read_json(file))
    if place.so_far:
        return None
    print("  toxic", flush=True)
    worked = time.process_time()
    loaded = load(str(place.data / TOXIC), prompt="{text}", completion="{is_toxic}")
    rows = list(loaded.rows)
    random.Random(0).shuffle(rows)  # the file has all toxic ones first
    if place.smoke:
        rows = sorted(rows, key=lambda row: len(row.messages[-1].content))[:40]
    loaded = Loaded(tuple(rows), (), len(rows))
    lm = open_lm(SMALL if place.smoke else DECODER, threads=place.threads)
    shown, asked = place.count(SHOWN, 2), place.count(ASKED, 4)
    found = select(lm, loaded, None, TOXIC, shots=shown, limit=asked, max_new_tokens=4)
    labels = in_context.labels_of(loaded.rows)
    tried = in_context.conditions(found.examples, labels)
    told = {"n": len(found.rows), "labels": list(labels), "shots": shown,
            "conditions": in_context.run(lm, found.rows, tried, labels),
            "processor_seconds": time.process_time() - worked}  # fmt: skip
    store.write_json(file, told)
    return told
