"""`tutelage eval --select A B C --data F`: which model to begin with, by the user's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.eval_rows import Asked, run_rows
from tutelage.cli.generate import open_model
from tutelage.errors import ConfigError, TutelageError

if TYPE_CHECKING:
    from tutelage.cli.eval_settings import Choosing, Known, Reasoning
    from tutelage.cli.shared import Shared
    from tutelage.evaluate.pick import Candidate
    from tutelage.evaluate.settings import Settings
    from tutelage.progress import Progress
    from tutelage.score._metric import Metric

Json = dict[str, Any]
FEWEST = 2


def check_alone(
    model: str | None, adapter: Path | None, known: Known, reasoning: Reasoning
) -> None:
    """What a choice among models does not have."""
    for flag, value in (
        ("MODEL", model), ("--adapter", adapter), ("--trained-on", known.trained_on),
        ("--toxicity", known.toxicity), ("--min-extraction", reasoning.min_extraction),
    ):  # fmt: skip
        if value is not None:
            raise ConfigError(f"{flag} has no effect with --select", field=flag, got=value)


def select(
    asked: Asked, metrics: Sequence[Metric], settings: Settings, choosing: Choosing,
    api_key_file: Path | None, shared: Shared, progress: Progress,
) -> Json:  # fmt: skip
    """The table, and the recommendation. A model that cannot be measured stands in it with the
    reason. Raises ConfigError for fewer than two models, and the first error where all fail."""
    from tutelage.evaluate.pick import MARGIN, pick

    models, price = choosing.select, choosing.price_per_hour
    if len(set(models)) < FEWEST:
        raise ConfigError(
            "say at least two models", field="--select", got=len(set(models)), expected="2 or more"
        )
    table, candidates, failed = [], [], None
    for model in dict.fromkeys(models):
        try:
            row, candidate = _one(model, asked, metrics, settings, api_key_file, shared, progress)
            candidates.append(candidate)
        except TutelageError as error:
            failed = failed or error
            row = {"model": model, "status": "failed", "reason": str(error).partition("\n")[0]}
        table.append(row)
    if not candidates and failed is not None:
        raise failed
    name = metrics[0].name
    seconds = any(c.cost <= 0 for c in candidates)
    if seconds:  # a server does not say how large it is; all are compared by time then
        candidates = [_by_time(one) for one in candidates]
    margin = MARGIN if choosing.margin is None else choosing.margin
    picked = pick(candidates, name, choosing.goal, shared.seed or 0, margin)
    for row in table:
        one = picked.others.get(row["model"])
        row["p_value"] = None if one is None else one.p_value
        row["against_best"] = None if one is None else asdict(one)
        time = row.get("seconds_per_answer")
        row["cost_per_answer"] = None if price is None or time is None else price * time / 3600
    return {
        "task": asked.data, "metric": name, "models": table, "recommended": picked.name,
        "reason": picked.reason, "best": picked.best, "margin": margin,
        "cost": "seconds" if seconds else "flops",
    }  # fmt: skip


def _one(
    model: str, asked: Asked, metrics: Sequence[Metric], settings: Settings,
    api_key_file: Path | None, shared: Shared, progress: Progress,
) -> tuple[Json, Candidate]:  # fmt: skip
    from tutelage.evaluate.languages import covered
    from tutelage.evaluate.pick import Candidate
    from tutelage.machine.memory import Peak, release

    known = _known(model)
    release()
    with Peak() as peak:
        lm = open_model(model, None, api_key_file, shared)
        opened = partial(lambda same: same, lm)
        result, evaluation, _ = run_rows(opened, model, asked, metrics, settings, progress)
    count = len(evaluation.items)
    tokens = sum(a.prompt_tokens + a.completion_tokens for a in evaluation.answers) / count
    parameters = known["parameters"]
    flops = None if parameters is None else 2.0 * parameters * tokens
    languages = covered(lm)
    row = {
        "model": model, "status": "done", "reason": None, "metrics": result["metrics"],
        "n": count, "refused": result["refused"], "set_aside": result["rows"]["set_aside"],
        **known, "context": lm.capabilities().context,
        "peak_bytes": None if parameters is None else peak.above,
        "seconds_per_answer": evaluation.seconds / count,
        "tokens_per_second": sum(a.completion_tokens for a in evaluation.answers)
        / max(evaluation.seconds, 1e-9),
        "flops_per_answer": flops, "languages": languages,
    }  # fmt: skip
    return row, Candidate(model, evaluation, flops or 0.0)


def _known(model: str) -> Json:
    """What a model's files say of it, nulls for a server and a script."""
    from tutelage.checkpoints.source import parse
    from tutelage.cli.model import describe
    from tutelage.plan.parameters import total

    if parse(model).kind in ("http", "scripted"):
        return {"parameters": None, "bytes": None, "licence": None}
    found = describe(model)
    return {"parameters": total(found.model.layout), "bytes": found.bytes, "licence": found.licence}


def _by_time(one: Candidate) -> Candidate:
    from dataclasses import replace

    return replace(one, cost=one.evaluation.seconds)


def show_selected(result: Json) -> None:
    """Print the table, then the recommendation."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("model", result["metric"], "95%", "GB", "s/answer", "TFLOP/answer", "context"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name in ("licence", "languages"):
        table.add_column(name)
    for row in result["models"]:
        if row["status"] != "done":
            table.add_row(row["model"], row["reason"])
            continue
        value, known = row["metrics"][result["metric"]], row["languages"]
        spoken = "?" if known is None else " ".join(n for n, one in known.items() if one["covered"])
        flops, peak = row["flops_per_answer"], row["peak_bytes"]
        table.add_row(
            row["model"], f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}",
            "?" if peak is None else f"{peak / 1e9:.2f}", f"{row['seconds_per_answer']:.2f}",
            "?" if flops is None else f"{flops / 1e12:.2f}", str(row["context"] or "?"),
            row["licence"] or "?", spoken or "none",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"recommended: {result['recommended']}: {result['reason']}", markup=False)
