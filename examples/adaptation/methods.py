"""Ten ways of tuning on the same rows, each with the same small search of its learning rate.

Of each: quality on rows that none has seen, against trained parameters, time, memory, the cost of
an answer, and what it lost elsewhere. A finished method is not tried again; `--so-far` tells what
is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from halving import Search
from studies import Place
from tasks import Task, task

from tutelage import store
from tutelage.backends.open import open_lm
from tutelage.data.retention import retention
from tutelage.errors import ConfigError
from tutelage.evaluate import general
from tutelage.evaluate.forgetting import pairs_of, rise, short_enough, text_scores
from tutelage.evaluate.statistics import compare
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.lm import LM
from tutelage.machine.memory import Peak, release
from tutelage.peft import METHODS
from tutelage.score import METRICS
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

Json = dict[str, Any]
METHODS_COMPARED: dict[str, Json] = {
    "lora": {}, "full": {}, "prompt-tuning": {}, "prefix-tuning": {}, "bitfit": {}, "ia3": {},
    "adapter": {}, "dora": {}, "last-layers": {}, "vera": {},
}  # fmt: skip
"""In the order in which they are run, the most asked for first."""
TEXTS = 16
"""Of the retention set, on which the rise of loss is measured."""
EXAM = (8, 8)
"""General questions of each task, and instructions, that are asked before and after."""
BEFORE = "before.json"


def study(name: str) -> Callable[[Place], Json]:
    """The comparison on one task."""

    def run(place: Place) -> Json:
        made = task(name, place)
        cells = {"zero-shot": untuned(made, place)} if made.head is None else {}
        for method, options in METHODS_COMPARED.items():
            cells[method] = cell(made, method, method, options, place)
        done = {key: one for key, one in cells.items() if one is not None}
        tried = {key: one for key, one in done.items() if "refused" not in one}
        return {
            "task": name, "model": made.model, "metric": made.metric,
            "rows": {"train": len(made.train), "test": len(made.test)},
            "steps": made.steps, "batch_tokens": made.batch_tokens,
            "methods": {key: _told(one) for key, one in tried.items()},
            "against_lora": _against(made, tried),
            "refused": {key: one["refused"] for key, one in done.items() if "refused" in one},
        "not_run": [key for key, one in cells.items() if one is None],
        }  # fmt: skip

    return run


def cell(made: Task, name: str, method: str, options: Json, place: Place) -> Json | None:
    """What one way of tuning comes to; None where it is not done and nothing is to be made."""
    file = place.work / f"{name}.json"
    if file.is_file():
        return dict(store.read_json(file))
    if place.so_far:
        return None
    print(f"  {made.name}: {name}", flush=True)
    worked = time.process_time()
    try:
        found = Search(made, method, options, place.work / name, place.threads).best()
    except ConfigError as error:  # as of virtual tokens before an encoder
        store.write_json(file, {"method": method, "refused": error.message})
        return dict(store.read_json(file))
    spent = time.process_time() - worked
    result, out = found["result"], found["out"]
    adapter = METHODS.get(method).adapter
    source, beside = (made.model, out) if adapter else (str(out), None)
    told = {
        "method": method, "options": options, "rates": found["rates"],
        "widened": found["widened"], "at_edge": found["at_edge"],
        "learning_rate": result["settings"]["learning_rate"],
        "trained_parameters": result["trained_parameters"], "loss": result["loss"],
        "curve": result["curve"], "tuning_seconds": result["seconds"],
        "search_processor_seconds": spent, "peak_bytes": result["peak_bytes"],
        "predicted_peak_bytes": result["predicted_peak_bytes"],
        "bytes_on_disk": sum(one.stat().st_size for one in out.rglob("*") if one.is_file()),
        **asked(made, source, beside, place),
        "processor_seconds": time.process_time() - worked,
    }  # fmt: skip
    store.write_json(file, told)
    return told


def once(made: Task, file: Path, config: TuneConfig, place: Place) -> Json | None:
    """What one tuning comes to, without a search; None where it is not done and nothing is to be
    made. Kept in the file, the adapter or model in a folder of its name."""
    if file.is_file():
        return dict(store.read_json(file))
    if place.so_far:
        return None
    print(f"  {made.name}: {file.stem}", flush=True)
    worked, out = time.process_time(), file.with_suffix("")
    try:
        result = tune(made.model, made.train, config, out, threads=place.threads)
    except ConfigError as error:
        store.write_json(file, {"refused": error.message})
        return dict(store.read_json(file))
    adapter = METHODS.get(config.method).adapter
    found = asked(made, made.model if adapter else str(out), out if adapter else None, place)
    told = {
        "quality": found["quality"], "forgetting": found["forgetting"],
        "trained_parameters": result["trained_parameters"], "rows": result["rows"]["used"],
        "loss": result["loss"], "processor_seconds": time.process_time() - worked,
    }  # fmt: skip
    store.write_json(file, told)
    return told


def best_rate(place: Place, study: str, method: str, headed: bool = False) -> float:
    """What the comparison of methods found to be best; the method's default where it has not."""
    file = place.work.parent / study / f"{method}.json"
    if file.is_file():
        return float(store.read_json(file)["learning_rate"])
    return float(METHODS.get(method).rate(headed))


def untuned(made: Task, place: Place) -> Json | None:
    """The model as it came."""
    file = place.work / "zero-shot.json"
    if not file.is_file():
        if place.so_far:
            return None
        worked = time.process_time()
        found = asked(made, made.model, None, place)
        store.write_json(file, {**found, "processor_seconds": time.process_time() - worked})
    return dict(store.read_json(file))


def asked(made: Task, source: str, adapter: Path | None, place: Place) -> Json:
    """Quality and cost of answers, and what was lost elsewhere."""
    release()
    with Peak() as peak:
        lm = open_lm(source, adapter=adapter, threads=place.threads)
        evaluation = evaluate_rows(lm, made.test[:2], (), [made.metric], max_new_tokens=2)
        worked = time.process_time()
        evaluation = evaluate_rows(
            lm, made.test, (), [made.metric], max_new_tokens=made.answer_tokens or 1
        )
        spent = time.process_time() - worked
    return {
        "quality": dict(evaluation.measured[made.metric]),
        "statistics": evaluation.statistics[made.metric].tolist(),
        "answer_tokens": evaluation.answer_tokens_mean,
        "processor_seconds_per_1000_answers": 1000 * spent / len(made.test),
        "answering_peak_bytes": peak.bytes,
        "forgetting": _lost(lm, made, place) if made.head is None else None,
    }


def _lost(lm: LM, made: Task, place: Place) -> Json | None:
    """Rise of loss on other text, in nats a token; of the model itself None, and its scores are
    kept for the others."""
    file = place.work / BEFORE
    pairs = pairs_of(retention(n=TEXTS).texts)
    places = short_enough(lm, pairs)
    scores = text_scores(lm, [pairs[one] for one in places]).tolist()
    after = dict(zip(map(str, places), scores, strict=True))
    answers = general.asked(lm, general.exam(*EXAM))
    if not file.is_file():
        store.write_json(file, {"texts": after, "general": answers})
        return None
    before = store.read_json(file)
    common = [one for one in after if one in before["texts"]]
    texts = (np.array([side[one] for one in common]) for side in (before["texts"], after))
    return {"loss": dict(rise(*texts)[0]), "general": general.kept(before["general"], answers)}


def _told(one: Json) -> Json:
    """What stands in the results: no statistics of single rows, a thin curve."""
    curve = one.get("curve") or []
    kept = {key: value for key, value in one.items() if key not in ("statistics", "curve")}
    return {**kept, "losses": [point["loss"] for point in curve[:: max(1, len(curve) // 24)]]}


def _against(made: Task, done: dict[str, Json]) -> Json:
    """Paired differences to LoRA on the rows of the test."""
    if "lora" not in done:
        return {}
    aggregate = METRICS.get(made.metric).aggregate
    first = np.asarray(done["lora"]["statistics"], dtype=float)
    told = {}
    for key, one in done.items():
        if key != "lora":
            rows = np.asarray(one["statistics"], dtype=float)
            found = compare(rows, first, aggregate, 0)
            told[key] = {
                "difference": found.difference, "low": found.low, "high": found.high,
                "p_value": found.p_value,
            }  # fmt: skip
    return told


def spent(work: Path) -> Json:
    """What all finished parts of a study took."""
    files = [one for one in sorted(work.glob("*.json")) if one.name != BEFORE]
    seconds = [float(store.read_json(one).get("processor_seconds", 0.0)) for one in files]
    return {"runs": len(seconds), "processor_hours": sum(seconds) / 3600}
