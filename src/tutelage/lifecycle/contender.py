"""A candidate while the ladder climbs: what is known of it so far, and what it costs.

Knows how the two costs are counted: in tokens times the model's weights times operations a weight,
never in seconds, so that what else the machine was doing decides nothing. A token read or written
takes two operations a weight (a multiply and an add); one trained on takes three times that by full
backpropagation, and two times with frozen weights, since their own gradients are never computed
(Kaplan et al. 2020, arXiv:2001.08361, section 2.1, for the factors 2 and 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tutelage.evaluate.lengths import estimated_tokens
from tutelage.evaluate.run import Answer, Evaluation, Item
from tutelage.lifecycle.choose import Interval, Standing
from tutelage.lifecycle.record import CandidateStatus
from tutelage.lifecycle.rungs import MAJORITY, Rung
from tutelage.peft import METHODS
from tutelage.prompts.few_shot import Example
from tutelage.score._collapse import Collapse

Limit = Literal["minutes", "minutes left", "memory"]
"""Of the budget: the minutes ended, what was left of them is less than was predicted to be needed,
or the memory is."""

FORWARD = 2
TRAINING = 6
FROZEN = 4


@dataclass(frozen=True)
class Refusal:
    """Why a step may not be begun, or not be ended, and which limit of the budget says so."""

    limit: Limit
    reason: str


@dataclass(eq=False)
class Contender:
    """One base model on one rung."""

    name: str
    model: str
    rung: Rung
    status: CandidateStatus = "done"
    reason: str = ""
    limit: Limit | None = None
    """Which one kept it from being tuned, measured, scored on test rows or recommended."""
    over_budget: bool = False
    """Whether it took more memory than it may."""
    shots: int = 0
    examples: tuple[Example, ...] = ()
    development: Evaluation | None = None
    test: Evaluation | None = None
    tuning: dict[str, Any] | None = None
    trained_on: float = 0.0
    """Tokens that tuning read, each as often as it was read."""
    artefact: Path | None = None
    predicted: dict[str, Any] | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    """The fields of `record.Choice`."""
    seconds: float = 0.0
    """Making it: what tuning took."""
    measuring_seconds: float = 0.0
    """Asking it rows, with every number of examples tried, and measuring what it forgot."""
    peak_bytes: int | None = None
    predicted_peak_bytes: int | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    """Forgetting and divergence, as measured."""

    @property
    def finished(self) -> bool:
        return self.status == "done" and self.development is not None

    @property
    def eligible(self) -> bool:
        """Whether choices may fall on it; the majority's answer is no model."""
        return self.finished and not self.over_budget and self.rung.name != MAJORITY

    @property
    def collapse(self) -> Collapse | None:
        """The one answer to all rows last asked; that of the majority is meant to be one."""
        last = self.test or self.development
        return None if last is None or self.rung.name == MAJORITY else last.collapse

    def saw_peak(self, peak: int | None) -> None:
        """Remember the highest of the peaks of its stages."""
        if peak is not None:
            self.peak_bytes = max(self.peak_bytes or 0, peak)

    def expects_peak(self, peak: int | None) -> None:
        """Remember the highest of the predictions of its stages."""
        if peak is not None:
            self.predicted_peak_bytes = max(self.predicted_peak_bytes or 0, peak)

    def tries(
        self,
        shots: int,
        value: float | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Remember what so many examples brought, or why they were not asked."""
        self.tried.append({"shots": shots, "value": value, "seconds": seconds, "reason": reason})

    def choice(self, metric: str) -> str:
        """Why it has as many examples as it has."""
        measured = [each for each in self.tried if each["value"] is not None]
        if len(measured) < 2:
            return "measured"
        values = ", ".join(f"{each['shots']}: {each['value']:.3f}" for each in measured)
        return f"{self.shots} examples chosen by {metric} on development rows ({values})"

    def refused(self, refusal: Refusal) -> None:
        """The budget has no room for its next step, or for the rest of one begun."""
        self.status = "stopped" if refusal.reason.startswith("stopped") else "skipped"
        self.reason, self.limit = refusal.reason, refusal.limit


def standing(one: Contender, metric: str, size: int) -> Standing:
    """The contender as choices see it. `size`: the weights of its model, or 1 for every model where
    that of any is unknown; costs are then those of the tokens alone. The majority costs nothing."""
    assert one.development is not None
    size = 0 if one.rung.name == MAJORITY else size
    return Standing(
        name=one.name,
        model=one.model,
        quality=interval(one.development, metric),
        making=_training_operations(one, size),
        answering=FORWARD * size * tokens_per_answer(one.development),
    )


def interval(evaluation: Evaluation, metric: str) -> Interval:
    """A metric's measured value; metrics of answered rows always have one."""
    found = evaluation.measured[metric]
    value, low, high = found["value"], found["low"], found["high"]
    assert value is not None and low is not None and high is not None
    return Interval(value, low, high, found["n"])


def tokens_per_answer(evaluation: Evaluation) -> float:
    """Mean tokens read and written for one answer."""
    pairs = zip(evaluation.items, evaluation.answers, strict=True)
    return sum(_tokens(item, answer) for item, answer in pairs) / max(len(evaluation.items), 1)


def _tokens(item: Item, answer: Answer) -> int:
    """As counted; estimated from the texts for a server that counts none."""
    if answer.prompt_tokens:
        return answer.prompt_tokens + answer.completion_tokens
    return estimated_tokens(item.prompt) + estimated_tokens(answer.text)


def _training_operations(one: Contender, size: int) -> float:
    if one.tuning is None or one.rung.method is None:
        return 0.0
    frozen = METHODS.get(one.rung.method).adapter
    return (FROZEN if frozen else TRAINING) * size * one.trained_on
