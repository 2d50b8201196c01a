"""From a finished climb to the record: every number is put in its place, none is computed twice.

Knows the record's schema and what the ladder leaves behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tutelage.evaluate.run import Evaluation
from tutelage.lifecycle import answering, choose, comparisons, forgetting, publish
from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.contender import Contender, Limit, interval
from tutelage.lifecycle.ladder import Climbed
from tutelage.lifecycle.rungs import MAJORITY
from tutelage.lm import Prompt
from tutelage.peft import METHODS

SAMPLES = 5
CUT: Mapping[Limit, str] = {
    "minutes": "The minutes ended before all of {} was done.",
    "minutes left": "Too few of the minutes were left for {}.",
    "memory": "The memory allowed left no room for {}.",
}
"""What is said of the candidates that a limit kept from being tried or recommended."""
UNPROVEN = (
    "It is not shown to be better than the answer that training rows have most often: "
    "{0.difference:+.3f} ({0.low:+.3f} to {0.high:+.3f}) on {0.rows} rows."
)
"""What is said of a recommendation that learned nothing anybody can see."""
Json = dict[str, Any]


def verdict(bench: Bench, climbed: Climbed) -> choose.Verdict:
    """The recommendation, from the front's values on test rows."""
    metric = bench.metric
    by_name = {one.name: one for one in climbed.contenders}
    ranked = []
    for standing in climbed.front:
        test = by_name[standing.name].test
        if test is not None:
            ranked.append((standing, interval(test, metric)))
    if not ranked:
        return choose.recommend([], metric, bench.project.task.goal, lambda a, b: 1.0)
    best = max(ranked, key=lambda each: each[1].value)[0].name
    others = [standing.name for standing, _ in ranked if standing.name != best]
    pairs = comparisons.corrected(
        [comparisons.pair(by_name[best], by_name[other], metric, bench.seed) for other in others]
    )
    p_values = {each.against: each.p_value for each in pairs}
    return choose.recommend(
        ranked, metric, bench.project.task.goal, lambda _, other: p_values[other]
    )


def record(bench: Bench, climbed: Climbed, chosen: choose.Verdict, created: str) -> Json:
    """The whole record as JSON; `record.Record` is its schema."""
    pairs = comparisons.of_run(climbed.contenders, climbed.standings, bench.metric, bench.seed)
    recommended = next((one for one in climbed.contenders if one.name == chosen.name), None)
    spent = bench.clock.spent()
    folder = bench.folder
    return {
        "run": str(folder),
        "status": status(climbed.contenders, chosen),
        "recommended": None
        if recommended is None
        else {
            "candidate": recommended.name,
            "model": recommended.model,
            "rung": recommended.rung.name,
        },
        "reason": _reason(climbed.contenders, chosen, pairs),
        "candidates": [_candidate(one, pairs) for one in climbed.contenders],
        "seconds": spent,
        "report": str(folder / "report.html"),
        "model": None if recommended is None else str(folder / "model"),
        "card": str(folder / "CARD.md"),
        "detail": {
            "project": bench.project.model_dump(),
            "metric": bench.metric,
            "metrics": answering.metrics(bench),
            "goal": bench.project.task.goal,
            "data": bench.material.described(),
            "budget": {
                "minutes": bench.project.budget.minutes,
                "memory_gb": bench.project.budget.memory_gb,
                "seconds_spent": spent,
            },
            "machine": bench.tools.machine(),
            "front": [standing.name for standing in climbed.front],
            "candidates": {one.name: _detail(one) for one in climbed.contenders},
            "samples": _samples(climbed.contenders),
            "licence": {source: facts.licence for source, facts in bench.facts.items()},
            "created": created,
            "retention": "not measured" if bench.retention is None else bench.retention.description,
            "general": forgetting.exam_of(bench).description or "nothing",
        },
    }


def status(contenders: Sequence[Contender], chosen: choose.Verdict) -> str:
    """A reached goal is done; else a limit that cut something short, or the goal, is named."""
    limits = {one.limit for one in contenders}
    if chosen.reached:
        return "done"
    if "minutes" in limits:
        return "budget spent"
    if "minutes left" in limits:
        return "budget too small"
    if "memory" in limits:
        return "memory limit"
    return "done" if chosen.reached is None else "goal not reached"


def _reason(
    contenders: Sequence[Contender], chosen: choose.Verdict, pairs: Sequence[comparisons.Pair]
) -> str:
    sentences = [chosen.reason]
    blind = {one.name for one in contenders if one.rung.name == MAJORITY}
    for each in pairs:
        unproven = each.low <= 0 or each.p_value >= choose.SIGNIFICANT
        if each.name == chosen.name and each.against in blind and unproven:
            sentences.append(UNPROVEN.format(each))
    for limit in get_args(Limit):
        cut = [one.name for one in contenders if one.limit == limit]
        if cut and not chosen.reached:
            sentences.append(CUT[limit].format(", ".join(cut)))
    return " ".join(sentences)


def _candidate(one: Contender, pairs: Sequence[comparisons.Pair]) -> Json:
    tuning, predicted = one.tuning or {}, one.predicted or {}
    return {
        "name": one.name,
        "model": one.model,
        "rung": one.rung.name,
        "status": one.status,
        "reason": one.reason,
        "development": {} if one.development is None else _measured(one.development),
        "test": None if one.test is None else _measured(one.test),
        "comparisons": [each.as_json() for each in pairs if each.name == one.name],
        "seconds": one.seconds,
        "measuring_seconds": one.measuring_seconds,
        "seconds_per_1000_answers": _per_thousand(one),
        "peak_bytes": one.peak_bytes,
        "predicted_peak_bytes": one.predicted_peak_bytes,
        "over_budget": one.over_budget,
        "trained_parameters": tuning.get(
            "trained_parameters", predicted.get("trained_parameters", 0)
        ),
        "bytes_on_disk": 0 if one.artefact is None else publish.size(one.artefact),
        "forgetting": one.kept.get("forgetting"),
        "toxicity": None,
        "collapse": None if (found := one.collapse) is None else found.as_json(),
    }


def _measured(evaluation: Evaluation) -> dict[str, Json]:
    return {name: dict(value) for name, value in evaluation.measured.items()}


def _per_thousand(one: Contender) -> float | None:
    last = one.test or one.development
    return None if last is None else 1000 * last.seconds / len(last.answers)


def _detail(one: Contender) -> Json:
    last = one.test or one.development
    return {
        "shots": one.shots,
        "prompt_tokens_mean": None if last is None else last.prompt_tokens_mean,
        "answer_tokens_mean": None if last is None else last.answer_tokens_mean,
        "cut_off": 0 if last is None else last.cut_off,
        "divergence": one.kept.get("divergence"),
        "general": [{"task": task, **kept} for task, kept in one.kept.get("general", {}).items()],
        "training": None if one.tuning is None else _training(one.tuning),
        "tried": one.tried,
    }


def _training(tuning: Json) -> Json:
    kept = (
        *("method", "layout", "settings", "steps", "trained_tokens", "seconds", "curve"),
        "loss_unit",
    )
    return {
        **{key: tuning[key] for key in kept},
        "about": METHODS.summary(tuning["method"]),
        "rows": tuning["rows"]["used"],
        "predicted_seconds": tuning["predicted_seconds"] or 0.0,
        "predicted_peak_bytes": tuning["predicted_peak_bytes"],
        "predicted_memory": tuning["predicted_memory"],
    }


def _samples(contenders: Sequence[Contender]) -> list[Json]:
    """The first rows that all finished candidates answered: of the test part where that is so."""
    finished = [one for one in contenders if one.development is not None]
    if not finished:
        return []
    tested = all(one.test is not None for one in finished)
    answers: dict[str, Evaluation] = {}
    for one in finished:
        part = one.test if tested else one.development
        assert part is not None
        answers[one.name] = part
    bare = next((one for one in finished if not one.examples), finished[0])
    return [
        {
            "id": item.id,
            "prompt": _text(item.prompt),
            "reference": item.reference,
            "answers": {name: part.answers[place].text for name, part in answers.items()},
        }
        for place, item in enumerate(answers[bare.name].items[:SAMPLES])
    ]


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n\n".join(turn.content for turn in prompt)


def placed(folder: Path, name: str) -> Path:
    """Where a candidate's own files lie."""
    return folder / "candidates" / name
