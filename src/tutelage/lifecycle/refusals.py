"""Whether the budget lets a candidate's next step begin, decided once and remembered.

A refusal is remembered under the budget it was made for: killed and run again, the same command
decides the same again. Knows no reason to refuse; `reserve` and `memory` do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.contender import Contender, Refusal
from tutelage.lifecycle.stages import Result, Stage

CODE = ("tutelage.lifecycle.ladder",)
"""What a refusal follows from: the rules of the climb and all that they ask."""


def refused(
    bench: Bench,
    one: Contender,
    step: str,
    decide: Callable[[], Refusal | None],
    begun: int = 0,
) -> bool:
    """Whether this step is refused; then status and reason are set. What was refused is asked anew
    once more of its work waits in a checkpoint (`begun`)."""

    def make() -> Result:
        decided = decide()
        return {
            "refusal": None if decided is None else asdict(decided),
            "seconds": one.seconds,
            "measuring_seconds": one.measuring_seconds,
            "peak_bytes": one.peak_bytes,
        }

    inputs = {
        "candidate": [bench.facts[one.model].fingerprint, one.rung.name, step, begun],
        "data": bench.material.digest(),
        "budget": bench.project.budget.model_dump(),
    }
    known = bench.stages.done(Stage("refused", inputs, make, CODE))
    found = known or make()
    if found["refusal"] is None:
        return False
    if known is None:
        bench.stages.run(Stage("refused", inputs, lambda: found, CODE))
    one.refused(Refusal(**found["refusal"]))
    one.seconds, one.measuring_seconds = found["seconds"], found["measuring_seconds"]
    one.peak_bytes = found["peak_bytes"]
    return True
