"""`tutelage eval --task T`: a benchmark, or plain text read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.eval_rows import at_fault
from tutelage.cli.eval_settings import LONGEST
from tutelage.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from tutelage.evaluate.benchmark import Result
    from tutelage.evaluate.run import Evaluation, Item
    from tutelage.evaluate.settings import Settings
    from tutelage.lm import LM
    from tutelage.progress import Progress

TEXT = "text"
"""The task that reads text and asks nothing: perplexity and bits per byte."""


def known_tasks() -> list[str]:
    from tutelage.evaluate.benchmarks import TASKS

    return sorted([*TASKS.names(), TEXT])


def check_task(name: str, settings: Settings) -> None:
    """Raises UnknownName, and ConfigError for settings that reading text does not have."""
    if name not in known_tasks():
        raise UnknownName("task", name, known_tasks(), field="--task")
    if name == TEXT and (settings.shots or settings.cot or settings.drawn or settings.written):
        raise ConfigError("text is read, nothing is asked", field="--task", got=name)
    _check_programs(name, settings)


def _check_programs(name: str, settings: Settings) -> None:
    """Options that only programs have, and what is drawn several times."""
    from tutelage.evaluate.benchmarks import TASKS
    from tutelage.prompts.programs import AIDED_EXAMPLES

    task = None if name == TEXT else TASKS.get(name)
    kind = "text" if task is None else task.kind
    drawn = task is not None and task.drawn
    for flag, given, right in (
        ("--samples", settings.samples > 1, kind == "code" or drawn),
        ("--pal", settings.pal, kind == "answer"),
        ("--sandbox", settings.sandbox != "strict", kind == "code" or settings.pal),
    ):
        if given and not right:
            raise ConfigError(f"{flag} has no effect with this task", field=flag, got=name)
    if settings.pal and settings.shots > len(AIDED_EXAMPLES):
        raise ConfigError(
            "not so many examples of programs", field="--shots", got=settings.shots,
            expected=f"at most {len(AIDED_EXAMPLES)}",
        )  # fmt: skip


def run_task(
    opened: Callable[[], LM], model: str, name: str, data: Path | None, settings: Settings,
    limit: int | None, progress: Progress, *, helm: bool = False,
) -> tuple[dict[str, Any], Evaluation | None, list[Item]]:  # fmt: skip
    """The evaluation as a file, with how it was asked and published scores beside it; as it is; and
    its bare questions."""
    from tutelage.evaluate.benchmark import measure
    from tutelage.evaluate.benchmarks import TASKS
    from tutelage.evaluate.benchmarks._published import published
    from tutelage.evaluate.file import as_file
    from tutelage.evaluate.helm import check, seven

    if name == TEXT:
        if helm:
            raise ConfigError("text is read, nothing is asked", field="--helm", got=name)
        with at_fault(model):
            return _read(opened, model, data, limit), None, []
    task = TASKS.get(name)
    if helm:
        check(task)
    data = task.data(data)
    lm = opened()
    with at_fault(model):
        found: Result = measure(lm, task, data, settings, limit=limit, progress=progress)
    result = as_file(found.evaluation, model, name, settings.shots)
    for item, more in zip(result["items"], found.details, strict=True):
        item |= more
    result |= {
        "how": found.how,
        "calibration": found.calibration,
        "published": published(name),
        "helm": seven(lm, task, data, settings, limit, found, progress) if helm else None,
        **found.more,
        **_counted(len(found.evaluation.items)),
    }
    return result, found.evaluation, list(found.bare)


def usual_length(name: str, settings: Settings) -> Settings:
    """The longest answer that the task's file asks for, and room for steps."""
    from tutelage.evaluate.benchmarks import TASKS

    longest = LONGEST if name == TEXT else TASKS.get(name).max_new_tokens
    return replace(settings, max_new_tokens=max(longest, 256) if settings.cot else longest)


def _read(
    opened: Callable[[], LM], model: str, data: Path | None, limit: int | None
) -> dict[str, Any]:
    """Perplexity and bits per byte of the texts of a file, with intervals over texts."""
    import time

    from tutelage.data.load import load
    from tutelage.evaluate.choose import read_texts
    from tutelage.evaluate.forgetting import short_enough, split_text
    from tutelage.evaluate.statistics import measured
    from tutelage.score import METRICS
    from tutelage.store import digest

    if data is None:
        raise ConfigError("which text?", field="--data", expected="rows with a text")
    rows = [row for row in load(str(data)).rows if row.text is not None]
    lm = opened()
    if not lm.capabilities().score:
        raise ConfigError(
            "this model gives no probabilities", field="MODEL", expected="a local model"
        )
    split = [(row, pair) for row in rows if (pair := split_text(row.text or "", 1)) is not None]
    fitting = short_enough(lm, [pair for _, pair in split])
    kept = [split[place] for place in fitting][: limit or len(fitting)]
    if len(kept) < 2:
        raise DataError(
            "too few texts to read", field=str(data), got=len(kept),
            expected="2 or more rows with a text that fits the model's context",
        )  # fmt: skip
    begun = time.perf_counter()
    statistics = read_texts(lm, [pair for _, pair in kept])
    seconds = time.perf_counter() - begun
    items = [
        {
            "id": row.id, "source": row.source, "prompt": pair[0], "reference": pair[1],
            "answer": "", "statistics": {name: s[place].tolist() for name, s in statistics.items()},
        }
        for place, (row, pair) in enumerate(kept)
    ]  # fmt: skip
    metrics = {
        name: measured(s, METRICS.get(name).aggregate, limits=None)
        for name, s in statistics.items()
    }
    return {
        "task": TEXT, "model": model, "shots": 0, "metrics": metrics, "n": len(items),
        "truncated": 0, "refused": len(split) - len(fitting), "cut_off": 0, "extraction_rate": 1.0,
        "valid": True, "collapse": None, "seconds": seconds,
        "prompt_sha256": digest([[item["id"], item["prompt"]] for item in items]),
        "items": items, "how": "likelihood", "calibration": None, "published": [],
        **_counted(len(items)),
    }  # fmt: skip


def _counted(count: int) -> dict[str, Any]:
    """Nothing of a benchmark is set aside: the keys of evaluations of rows."""
    became = {"read": count, "measured": count, "examples": 0, "set_aside": 0, "unused": 0}
    return {"rows": became, "set_aside": {}, "set_aside_rows": [], "notes": []}
