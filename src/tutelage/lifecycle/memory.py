"""The limit of memory: what answering is predicted to hold, and what went over the limit.

A prediction is what the process holds without the model, measured just before, and what the model
and its work add to it, computed from shapes.

What is predicted to exceed the limit is not begun. Nothing can stop what was begun from taking
more: its measured peak is compared with the limit, and a candidate that went over it is said to
have, and never recommended. A limit that is absent refuses nothing.
"""

from __future__ import annotations

from tutelage.lifecycle import answering
from tutelage.lifecycle.answering import Question
from tutelage.lifecycle.bench import Bench, Subject
from tutelage.lifecycle.contender import Refusal
from tutelage.lifecycle.stages import Result, Stage
from tutelage.plan.answering import Asked

CODE = (__name__, "tutelage.generate.memory")
ONE = Asked(rows=1, tokens=1)


def to_open(bench: Bench, model: str) -> int | None:
    """Bytes the process will hold with the model open; None for one that runs elsewhere."""
    return _predicted(bench, Subject(model), "answering", ONE)


def to_answer(bench: Bench, question: Question) -> int | None:
    """Bytes the process will hold at most while it answers; None likewise."""
    return _predicted(bench, question.subject, "answering", answering.asked(bench, question))


def to_score(bench: Bench, subject: Subject) -> int | None:
    """Bytes the process will hold at most while it scores texts; None likewise."""
    return _predicted(bench, subject, "scoring", None)


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


def _predicted(bench: Bench, subject: Subject, work: str, asked: Asked | None) -> int | None:
    model = subject.model
    if not bench.facts[model].weights or subject.constant is not None:
        return None

    def make() -> Result:
        if asked is None:
            components = bench.tools.predict_scoring(model)
        else:
            components = bench.tools.predict_answering(model, asked)
        return {"resident": bench.resident(subject), "components": components}

    inputs = {**bench.identity(subject), "asked": None if asked is None else vars(asked)}
    found = bench.stages.run(Stage(f"predict-{work}", inputs, make, CODE))
    return int(found["resident"]) + sum(found["components"].values())
