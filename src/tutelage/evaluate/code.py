"""Questions answered by programs: each is run with its tests, and pass@k measured.

Also answers that a program computes (PAL). Programs of models are strangers' programs: they run in
`sandbox/`, and nothing is run where that does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from tutelage.errors import ConfigError
from tutelage.evaluate.ask import ask
from tutelage.evaluate.benchmarks._task import Question
from tutelage.evaluate.result import Result, bare, evaluation_of
from tutelage.evaluate.run import Item
from tutelage.evaluate.settings import Settings
from tutelage.lm import LM
from tutelage.progress import Progress
from tutelage.prompts.programs import STOP, function_asked, function_found, program_found
from tutelage.sandbox.limits import Limits, Outcome
from tutelage.sandbox.run import run
from tutelage.score._pass_at import KS, rows

LIMITS = Limits()


def by_tests(
    lm: LM, questions: Sequence[Question], settings: Settings, progress: Progress
) -> Result:
    """`settings.samples` programs for each question, run with its tests.

    Raises ConfigError for settings that programs do not have, and where the sandbox does not hold.
    """
    for flag, given in (
        ("--cot", settings.cot), ("--votes", settings.drawn), ("--written", settings.written),
        ("--pal", settings.pal),
    ):  # fmt: skip
        if given:
            raise ConfigError(f"{flag} has no effect on programs", field=flag, hint="leave it out")
    # Before the model writes anything: whether its programs may be run here at all.
    _ran("", settings)
    chat = lm.capabilities().chat
    items = [
        Item(q.id, function_asked(q.text) if chat else q.text, q.answer, q.source)
        for q in questions
    ]
    draws = replace(settings, votes=settings.samples)
    asked = ask(lm, items, _whole, str.strip, draws, stop=() if chat else STOP, progress=progress)
    programs = [
        [function_found(text, q.text, q.name, whole=chat) for text in said]
        for q, said in zip(questions, asked.said, strict=True)
    ]
    outcomes = _outcomes(questions, programs, settings, progress)
    passed = [sum(o is not None and o.status == "finished" for o in own) for own in outcomes]
    statistics = {
        f"pass_at_{k}": rows(settings.samples, passed, k) for k in KS if k <= settings.samples
    }
    evaluation = evaluation_of(items, asked.answers, statistics, asked.seconds, settings.seed)
    details = tuple(
        {"said": list(said), "programs": own, "outcomes": [_told(o) for o in ran]}
        for said, own, ran in zip(asked.said, programs, outcomes, strict=True)
    )
    return Result(evaluation, details, None, "programs", bare(questions), protection(settings))


def protection(settings: Settings) -> dict[str, Any]:
    """What holds while programs run on this machine."""
    found = _ran("", settings)
    return {
        "sandbox": {
            "mode": settings.sandbox, "layers": list(found.layers), "missing": list(found.missing),
        }
    }  # fmt: skip


def printed(said: str, settings: Settings) -> str | None:
    """The last line that the program in an answer prints; None if it does not end well."""
    program = program_found(said)
    found = None if program is None else _ran(program, settings)
    if found is None or found.status != "finished":
        return None
    return found.stdout.strip().rpartition("\n")[2].strip() or None


def _whole(text: str) -> str | None:
    # White space at the front is a program's indentation.
    return text if text.strip() else None


def _outcomes(
    questions: Sequence[Question],
    programs: Sequence[Sequence[str | None]],
    settings: Settings,
    progress: Progress,
) -> list[list[Outcome | None]]:
    """What became of each program: as many at once as there are processors."""

    def tried(job: tuple[Question, str | None]) -> Outcome | None:
        question, program = job
        return None if program is None else _ran(f"{program}\n\n{question.test}", settings)

    jobs = [(q, one) for q, own in zip(questions, programs, strict=True) for one in own]
    found: list[Outcome | None] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for outcome in pool.map(tried, jobs):
            found.append(outcome)
            progress("programs", len(found), len(jobs))
    rest = iter(found)
    return [[next(rest) for _ in own] for own in programs]


def _ran(program: str, settings: Settings) -> Outcome:
    return run(program, LIMITS, weak=settings.sandbox == "weak")


def _told(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    last = outcome.stderr.strip().rpartition("\n")[2]
    return {"status": outcome.status, "reason": last, "seconds": outcome.seconds}
