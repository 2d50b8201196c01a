"""A candidate while the ladder climbs: what is known of it so far, and what it costs.

Knows how the two costs are counted. What one token costs is two operations a weight (a multiply and
an add), forward; training by full backpropagation costs three times that, and with frozen weights
two times, since their own gradients are never computed (Kaplan et al. 2020, arXiv:2001.08361,
section 2.1, for the factors 2 and 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.evaluate.run import Evaluation
from tutelage.lifecycle.choose import Interval, Standing
from tutelage.lifecycle.record import CandidateStatus
from tutelage.lifecycle.rungs import Rung
from tutelage.prompts.few_shot import Example

FORWARD = 2
TRAINING = {"full": 6}
FROZEN = 4


@dataclass(eq=False)
class Contender:
    """One base model on one rung."""

    name: str
    model: str
    rung: Rung
    status: CandidateStatus = "done"
    reason: str = ""
    limited: bool = False
    """Whether the budget kept it from being tuned, measured, scored on test rows, recommended."""
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
        """Whether choices may fall on it."""
        return self.finished and not self.over_budget

    def saw_peak(self, peak: int | None) -> None:
        """Remember the highest of the peaks of its stages."""
        if peak is not None:
            self.peak_bytes = max(self.peak_bytes or 0, peak)

    def expects_peak(self, peak: int | None) -> None:
        """Remember the highest of the predictions of its stages."""
        if peak is not None:
            self.predicted_peak_bytes = max(self.predicted_peak_bytes or 0, peak)

    def refused(self, reason: str) -> None:
        """The budget has no room for its next step, or for the rest of one begun."""
        self.status = "stopped" if reason.startswith("stopped") else "skipped"
        self.reason, self.limited = reason, True


def standing(one: Contender, metric: str, parameters: int | None, counted: bool) -> Standing:
    """The contender as choices see it. `counted`: costs in operations, else in seconds."""
    assert one.development is not None
    quality = interval(one.development, metric)
    if counted and parameters is not None:
        making = _training_operations(one, parameters)
        answering = FORWARD * parameters * tokens_per_answer(one.development)
    else:
        making = one.tuning["seconds"] if one.tuning else 0.0
        answering = one.development.seconds / max(len(one.development.answers), 1)
    return Standing(one.name, one.model, quality, making, answering)


def interval(evaluation: Evaluation, metric: str) -> Interval:
    """A metric's measured value; metrics of answered rows always have one."""
    found = evaluation.measured[metric]
    value, low, high = found["value"], found["low"], found["high"]
    assert value is not None and low is not None and high is not None
    return Interval(value, low, high, found["n"])


def tokens_per_answer(evaluation: Evaluation) -> float:
    """Mean tokens read and written for one answer."""
    answers = evaluation.answers
    total = sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)
    return total / max(len(answers), 1)


def _training_operations(one: Contender, parameters: int) -> float:
    if one.tuning is None or one.rung.method is None:
        return 0.0
    factor = TRAINING.get(one.rung.method, FROZEN)
    return factor * parameters * one.trained_on
