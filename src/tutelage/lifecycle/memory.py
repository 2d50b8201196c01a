"""The limit of memory: what answering is predicted to hold, and what went over the limit.

What is predicted to exceed the limit is not begun. Nothing can stop what was begun from taking
more: its measured peak is compared with the limit, and a candidate that went over it is said to
have, and never recommended. A limit that is absent refuses nothing.
"""

from __future__ import annotations

from tutelage.lifecycle import answering
from tutelage.lifecycle.answering import Question
from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.contender import Refusal
from tutelage.lifecycle.stages import Result, Stage
from tutelage.plan.answering import Asked

CODE = (__name__, "tutelage.generate.memory")
ONE = Asked(rows=1, tokens=1)


def to_open(bench: Bench, model: str) -> int | None:
    """Bytes the process will hold with the model open; None for one that runs elsewhere."""
    return _predicted(bench, model, ONE)


def to_answer(bench: Bench, question: Question) -> int | None:
    """Bytes the process will hold at most while it answers; None likewise."""
    return _predicted(bench, question.subject.model, answering.asked(bench, question))


def refusal(bench: Bench, needed: int | None) -> Refusal | None:
    """Why so much may not be begun; None if it may."""
    limit = bench.project.budget.memory_gb
    if limit is None or needed is None or needed <= limit * 1e9:
        return None
    return Refusal(
        "memory",
        f"skipped: it is predicted to need {needed / 1e9:.2f} GB of memory, the limit is "
        f"{limit:g} GB",
    )


def excess(bench: Bench, peak: int | None) -> str | None:
    """How a measured peak went over the limit; None if it did not."""
    limit = bench.project.budget.memory_gb
    if limit is None or peak is None or peak <= limit * 1e9:
        return None
    return (
        f"it took {peak / 1e9:.2f} GB of memory, more than the limit of {limit:g} GB, and cannot "
        "be recommended"
    )


def _predicted(bench: Bench, model: str, asked: Asked) -> int | None:
    facts = bench.facts[model]
    if not facts.weights:
        return None

    def make() -> Result:
        return {"components": bench.tools.predict_answering(model, asked)}

    inputs = {"model": facts.fingerprint, "asked": vars(asked)}
    found = bench.stages.run(Stage("predict-answering", inputs, make, CODE))
    return _resident(bench) + sum(found["components"].values())


def _resident(bench: Bench) -> int:
    """Bytes the process holds without a model: measured once, before the first is opened."""

    def make() -> Result:
        bench.let_go()
        return {"bytes": bench.tools.resident()}

    return int(bench.stages.run(Stage("resident", {}, make, (__name__,)))["bytes"])
