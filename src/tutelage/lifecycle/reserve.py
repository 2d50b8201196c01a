"""Whether the next step still fits the minutes: what it will take, what must be kept for the end.

Answers on test rows come last and must not be crowded out, so their time is kept back from the
moment a candidate is measured. Estimates come from what the same model took before on this machine.
Knows no stage and decides nothing; it states refusals with their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.lifecycle import choose
from tutelage.lifecycle.answering import Question
from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.contender import Contender, Refusal
from tutelage.lifecycle.forgetting import SAMPLES
from tutelage.lifecycle.rungs import BASELINES

REPORT_SECONDS = 5.0
"""Kept for comparisons, report and card."""
EACH_SHOT = 0.25
"""An example in the prompt is taken to add this share to the time of an answer, until known."""


class Reserve:
    """Estimates of one climb, learning as it goes."""

    def __init__(
        self,
        bench: Bench,
        contenders: Sequence[Contender],
        standings: Callable[[], list[choose.Standing]],
    ) -> None:
        self._bench = bench
        self._contenders = contenders
        self._standings = standings
        self._per_row: dict[tuple[str, str | None], dict[int, float]] = {}
        self._forgetting: dict[str, float] = {}

    def learned(self, question: Question, seconds: float) -> None:
        """Remember how long this many shots took this subject a row; an answer that was known
        beforehand says nothing of the model."""
        if question.subject.constant is not None:
            return
        rows = len(getattr(self._bench.material, question.part))
        subject = question.subject
        known = self._per_row.setdefault((subject.model, subject.method), {})
        known[len(question.examples)] = seconds / rows

    def learned_forgetting(self, model: str, seconds: float) -> None:
        self._forgetting[model] = seconds

    def for_tests(self) -> float:
        """Seconds to score the front so far and the baselines on test rows, and to report."""
        names = {each.name for each in choose.front(self._standings())}
        waiting = [
            one
            for one in self._contenders
            if one.test is None
            and one.finished
            and (one.name in names or one.rung.name in BASELINES)
        ]
        tests = len(self._bench.material.test)
        seconds = sum(tests * self._a_row(one, one.shots) for one in waiting)
        return seconds + REPORT_SECONDS

    def for_forgetting(self, one: Contender) -> float:
        """As long as last time, or as answering so many rows."""
        return self._forgetting.get(one.model, 2 * SAMPLES * self._a_row(one, 0))

    def after_tuning(self, one: Contender) -> float:
        """What measuring a tuned candidate needs, with all that was kept before."""
        return self._all_rows(one, 0) + self.for_forgetting(one) + self.for_tests()

    def refusal_to_ask(self, one: Contender, shots: int, on_test: bool) -> Refusal | None:
        """Why there is no time to ask; None if there is."""
        if on_test:
            needed = len(self._bench.material.test) * self._a_row(one, shots)
            enough = self._bench.clock.fits(needed) and self._bench.clock.left() > 0
        else:
            needed = self._all_rows(one, shots)
            enough = self._bench.clock.fits(needed + self.for_tests())
        if enough:
            return None
        return self._no_time(f"measuring it takes about {seconds_text(needed)}")

    def refusal_to_tune(self, one: Contender, begun: int = 0) -> Refusal | None:
        """Why there is no time to tune, with the numbers; None if there is. `begun` of its steps
        are done already, in a checkpoint it goes on from."""
        assert one.predicted is not None
        steps = one.predicted.get("steps_total") or 0
        share = min(begun / steps, 1.0) if steps else 0.0
        seconds = (one.predicted["predicted_seconds"] or 0.0) * (1 - share)
        if self._bench.clock.fits(seconds + self.after_tuning(one)):
            return None
        return self._no_time(
            f"tuning takes about {seconds_text(seconds)} and measuring it "
            f"{seconds_text(self.after_tuning(one) - self.for_tests())}"
        )

    def _no_time(self, needs: str) -> Refusal:
        clock = self._bench.clock
        if clock.left() <= 0:
            return Refusal("minutes", f"skipped: the {clock.minutes:g} minutes are spent")
        return Refusal(
            "minutes left",
            f"skipped: {needs}, {seconds_text(self.for_tests())} are kept for test rows and "
            f"report, and of {clock.minutes:g} minutes {seconds_text(clock.left())} are left",
        )

    def _all_rows(self, one: Contender, shots: int) -> float:
        """Seconds to ask the development rows, and later the test rows."""
        material = self._bench.material
        return (len(material.development) + len(material.test)) * self._a_row(one, shots)

    def _a_row(self, one: Contender, shots: int) -> float:
        """Seconds an answer takes with so many shots: as with the nearest number known, of the
        same tuned model or else of its base; 0 while nothing is known."""
        own = self._per_row.get((one.model, one.rung.method))
        known = own or self._per_row.get((one.model, None)) or {}
        if not known:
            return 0.0
        nearest = min(known, key=lambda count: (abs(count - shots), count))
        return known[nearest] * (1 + EACH_SHOT * max(shots - nearest, 0))


def seconds_text(seconds: float) -> str:
    """`42 s`, `3 min 5 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
