"""The names of the rungs of the ladder and what each is made of.

    majority  zero-shot  one-shot  few-shot  lora  full  lora+one-shot  lora+few-shot ...

A rung is a way of tuning (or none) and a way of prompting; "+" joins the two. `majority` asks no
model: it is what a head has to beat. Knows names alone: what a method does is `train/`'s, what an
example looks like is `prompts/`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.errors import UnknownName
from tutelage.peft import METHODS

FULL = "full"
MAJORITY = "majority"
"""The answer that training rows have most often, whatever is asked."""
PROMPTS = {"zero-shot": "none", "one-shot": "one", "few-shot": "few"}
BASELINES = (MAJORITY, "zero-shot")
"""What every other candidate of a model is compared with, and scored on test rows for."""
FEW = (2, 4, 8, 16)
"""How many examples few-shot prompting tries; the best on development rows is kept."""


@dataclass(frozen=True)
class Rung:
    """`method` None is the model as it is; `shots` is none, one or few."""

    name: str
    method: str | None
    shots: str


def methods() -> list[str]:
    """Every way of tuning, from the registry's file names; all weights, the dearest, last."""
    return [*(name for name in METHODS.names() if name != FULL), FULL]


def known() -> list[str]:
    """Every rung name, cheap to dear."""
    plain = list(PROMPTS)
    joined = [f"{method}+{prompt}" for method in methods() for prompt in plain[1:]]
    return [MAJORITY, *plain, *methods(), *joined]


def parse(name: str) -> Rung:
    """The rung of this name. Raises UnknownName with a suggestion."""
    if name not in known():
        raise UnknownName("rung", name, known(), field="search.rungs")
    if name in BASELINES or name in PROMPTS:
        return Rung(name, None, PROMPTS.get(name, "none"))
    method, _, prompt = name.partition("+")
    return Rung(name, method, PROMPTS[prompt] if prompt else "none")


def in_order(names: list[str], *, headed: bool = False) -> list[Rung]:
    """The rungs from cheap to dear, whatever order the project names them in: prompts, then tuning,
    then the tuned models prompted again. Zero-shot, the baseline, is always among them, and where
    models are given a head the majority too, as an encoder has no answer without one."""
    wanted = {"zero-shot", *names, *((MAJORITY,) if headed else ())}
    return [parse(name) for name in known() if name in wanted]
