"""Stages that ask a model: lengths of rows, examples to show, answers and their measurement.

Knows what each follows from, so that it is done once. Whether there is time for it is for the
ladder to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.data.rows import refused
from tutelage.evaluate.lengths import row_length, tokens
from tutelage.evaluate.run import Evaluation
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.lifecycle import prompting
from tutelage.lifecycle.bench import Bench, Subject
from tutelage.lifecycle.material import digest, within
from tutelage.lifecycle.stages import Result, Stage
from tutelage.machine.memory import Peak, trim
from tutelage.plan.answering import Asked
from tutelage.progress import Progress
from tutelage.prompts.few_shot import Example
from tutelage.score import STANDARD

Part = Literal["development", "test"]
CODE = (__name__, "tutelage.backends.open")
"""What a count of tokens, and an answer, follow from: this file, and the model it is handed."""


TRIM_EVERY = 16
"""Answers after which freed memory is given back. The rows being decoded are ever fewer, so arrays
are never of one size for long, and where tuning left gaps each of them would take another."""


@dataclass(frozen=True)
class Question:
    """One part of the rows asked of one subject with these examples."""

    subject: Subject
    part: Part
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Answered:
    """An evaluation, the seconds it took with opening the model, and the peak of memory."""

    evaluation: Evaluation
    seconds: float
    peak_bytes: int


def metrics(bench: Bench) -> list[str]:
    """The project's own first."""
    return list(dict.fromkeys([bench.metric, *STANDARD]))


def part_digest(bench: Bench, part: Part) -> str:
    return digest(getattr(bench.material, part))


def fit_rows(bench: Bench, models: Iterable[str]) -> None:
    """Set rows aside that are too long for any of these models; strict tools refuse the first."""
    for model in models:
        found = lengths(bench, model)
        before = len(bench.material.set_aside)
        bench.material = within(bench.material, found["rows"], found["context"])
        for one in bench.material.set_aside[before:]:
            if bench.tools.strict:
                raise refused(one)


def lengths(bench: Bench, model: str) -> Result:
    """As this model reads them: `{"rows": tokens of each, "context": most or null, "score": ...}`,
    the last being whether it reveals probabilities."""

    def make() -> Result:
        lm = bench.lm(Subject(model))
        counts = [row_length(lm, row) for row in bench.material.rows]
        can = lm.capabilities()
        return {"rows": counts, "context": can.context, "score": can.score}

    return bench.stages.run(Stage("lengths", _reading(bench, model), make, CODE))


def train_tokens(bench: Bench, model: str) -> int:
    """Tokens of all rows that are tuned on together, others' taken to be as long as the task's."""
    own = len(bench.material.train)
    tokens = sum(lengths(bench, model)["rows"][:own])
    return int(tokens * len(bench.learned()) / own)


def answer_limit(bench: Bench, model: str) -> int:
    """Tokens an answer may have, from the training rows."""

    def make() -> Result:
        return {"tokens": prompting.answer_limit(bench.lm(Subject(model)), bench.material.train)}

    stage = Stage("answer-limit", _reading(bench, model), make, CODE)
    return int(bench.stages.run(stage)["tokens"])


def examples(bench: Bench, model: str, k: int) -> tuple[Example, ...] | None:
    """k training rows to be shown to this model, None if they do not fit its context."""
    ids = _examples(bench, model, k)["ids"]
    if ids is None:
        return None
    rows = {row.id: row for row in bench.material.train}
    return tuple(rows[one].example() for one in ids)


def asked(bench: Bench, question: Question) -> Asked:
    """How many rows a question asks, and how long they are. A row's tokens have its own answer
    among them, so this is a little more than is read and written."""
    model, shots = question.subject.model, len(question.examples)
    parts = bench.material
    counts = lengths(bench, model)["rows"][len(parts.train) :]
    middle = len(parts.development)
    rows = counts[:middle] if question.part == "development" else counts[middle:]
    shared = int(_examples(bench, model, shots)["tokens"]) if shots else 0
    return Asked(len(rows), max(rows) + answer_limit(bench, model), shared)


def _examples(bench: Bench, model: str, k: int) -> Result:
    """`{"ids": of k training rows or null, "tokens": what they take in the prompt}`."""
    train = bench.material.train

    def make() -> Result:
        asked = (*bench.material.development, *bench.material.test)
        limit = answer_limit(bench, model)
        lm = bench.lm(Subject(model))
        chosen = prompting.examples_that_fit(lm, train, asked, k, limit, bench.seed)
        if chosen is None:
            return {"ids": None, "tokens": None}
        shown = tokens(lm, prompting.shown_turns(chosen))
        return {"ids": [one.id for one in chosen], "tokens": shown}

    inputs = {**_reading(bench, model), "k": k, "seed": bench.seed}
    return bench.stages.run(Stage(f"examples-{k}", inputs, make, CODE))


def known(bench: Bench, question: Question) -> bool:
    """Whether this question was answered before."""
    return bench.stages.done(_stage(bench, question, None)) is not None


def answered(bench: Bench, question: Question, progress: Progress) -> Answered:
    """Answers and measurements; OutOfTime raised by `progress` leaves nothing behind."""
    found = bench.stages.run(_stage(bench, question, progress))
    evaluation = Evaluation.from_json(found["evaluation"])
    return Answered(evaluation, found["seconds"], found["peak_bytes"])


def _stage(bench: Bench, question: Question, progress: Progress | None) -> Stage:
    subject, rows = question.subject, getattr(bench.material, question.part)
    limit = answer_limit(bench, subject.model)

    def make() -> Result:
        assert progress is not None
        bench.make_room(subject)
        begun = bench.tools.now()
        with Peak() as peak:
            done = evaluate_rows(
                bench.lm(subject),
                rows,
                question.examples,
                metrics(bench),
                max_new_tokens=limit,
                progress=_tidy(progress),
                seed=bench.seed,
            )
        return {
            "evaluation": done.to_json(),
            "seconds": bench.tools.now() - begun,
            "peak_bytes": peak.bytes,
        }

    inputs = {
        **bench.identity(subject),
        "rows": part_digest(bench, question.part),
        "examples": digest_examples(question.examples),
        "answer_limit": limit,
        "metrics": metrics(bench),
        "seed": bench.seed,
    }
    shots = len(question.examples)
    name = f"{question.part}-{subject.label}-{shots}-shot"
    return Stage(name, inputs, make, CODE)


def _tidy(progress: Progress) -> Progress:
    """The same progress, giving freed memory back now and then."""

    def told(what: str, done: int, total: int | None) -> None:
        if done % TRIM_EVERY == 0:
            trim()
        progress(what, done, total)

    return told


def digest_examples(shown: Sequence[Example]) -> list[Any]:
    """The examples' texts as JSON."""
    return [
        [[turn.role, turn.content] for turn in one.messages] + [one.completion] for one in shown
    ]


def _reading(bench: Bench, model: str) -> dict[str, Any]:
    return {"model": bench.facts[model].fingerprint, "data": bench.material.digest()}
