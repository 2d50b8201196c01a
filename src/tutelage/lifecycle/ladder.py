"""The climb: rung by rung from cheap to dear, within the budget, chosen on development rows.

    base models that are too large to be opened are left out, with the numbers
    zero-, one-, few-shot for every other
    base models that are dominated are dropped, with the numbers, but where each is given a head,
        of which its answers in words say nothing
    tuning, then the tuned models prompted again, each only if it is predicted to fit
    test rows once, for the candidates on the front and for the baselines

Knows the order and the rules. The stages do the work, `reserve` and `memory` refuse, `choose`
compares, `assemble` writes down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import ConfigError, GuardError, MemoryLimitError
from tutelage.lifecycle import answering, choose, forgetting, memory, rungs, tuning
from tutelage.lifecycle.answering import Answered, Question
from tutelage.lifecycle.bench import Bench, Subject
from tutelage.lifecycle.budget import OutOfTime
from tutelage.lifecycle.contender import Contender, Refusal, interval, standing
from tutelage.lifecycle.majority import majority
from tutelage.lifecycle.names import short_names
from tutelage.lifecycle.refusals import refused
from tutelage.lifecycle.reserve import Reserve, seconds_text
from tutelage.lifecycle.rungs import Rung
from tutelage.progress import Progress
from tutelage.prompts.few_shot import Example


@dataclass(frozen=True)
class Climbed:
    """Every candidate that was tried or skipped, how the finished ones stand, and the front of
    those that may be chosen."""

    contenders: list[Contender]
    standings: list[choose.Standing]
    front: list[choose.Standing]


class Ladder:
    """One climb at a bench. `told` hears of each candidate when it is settled."""

    def __init__(self, bench: Bench, told: Callable[[Contender], None]) -> None:
        self.bench = bench
        self._told = told
        self._names = short_names(bench.project.models.candidates)
        self._tuned: dict[tuple[str, str], tuning.Tuned] = {}
        self._failed: dict[tuple[str, str], Contender] = {}
        self._too_large: dict[str, Refusal] = {}
        self._dominated: dict[str, str] = {}
        self.contenders: list[Contender] = []
        self.reserve = Reserve(bench, self.contenders, self._eligible)

    def climb(self) -> Climbed:
        """Try every rung, then score the front on test rows."""
        models = self.bench.project.models.candidates
        headed = self.bench.project.tuning.head is not None
        wanted = rungs.in_order(self.bench.project.search.rungs, headed=headed)
        self._open(models)
        for rung in wanted:
            if rung.method is None:
                for model in models:
                    self._settle(self._new(model, rung), self._prompted)
        if not headed:
            self._dominated = choose.dominated(self._eligible(), self.bench.metric)
        for rung in wanted:
            if rung.method is not None:
                for model in models:
                    self._settle(self._new(model, rung), self._tuned_and_prompted)
        self._score_on_test(choose.front(self._eligible()))
        self.bench.let_go()
        finished = [one for one in self.contenders if one.finished]
        return Climbed(self.contenders, self._standings(finished), choose.front(self._eligible()))

    def _open(self, models: list[str]) -> None:
        """Find out which models cannot be opened, and which rows are too long for the others."""
        for model in models:
            refusal = memory.refusal(self.bench, memory.to_open(self.bench, model))
            if refusal is not None:
                self._too_large[model] = refusal
        answering.fit_rows(self.bench, [each for each in models if each not in self._too_large])

    def _eligible(self) -> list[choose.Standing]:
        """The candidates that choices may fall on, as choices see them."""
        return self._standings([one for one in self.contenders if one.eligible])

    def _standings(self, contenders: list[Contender]) -> list[choose.Standing]:
        sizes = {model: facts.parameters or 0 for model, facts in self.bench.facts.items()}
        known = all(sizes.values())
        return [
            standing(one, self.bench.metric, sizes[one.model] if known else 1) for one in contenders
        ]

    def _new(self, model: str, rung: Rung) -> Contender:
        return Contender(f"{self._names[model]}-{rung.name}", model, rung)

    def _settle(self, contender: Contender, work: Callable[[Contender], None]) -> None:
        model = contender.model
        if model in self._too_large:
            contender.expects_peak(memory.to_open(self.bench, model))
            contender.refused(self._too_large[model])
        elif contender.rung.method is not None and model in self._dominated:
            contender.status, contender.reason = "skipped", self._dominated[model]
        else:
            try:
                work(contender)
            except (MemoryLimitError, GuardError) as error:
                contender.status, contender.reason = "stopped", f"stopped: {error.message}"
            self._weigh(contender)
        self.contenders.append(contender)
        self._told(contender)

    def _weigh(self, one: Contender) -> None:
        """Rule the candidate out if it took more memory than it may."""
        excess = memory.excess(self.bench, one.peak_bytes)
        if excess is not None and not one.over_budget:
            one.over_budget, one.limit = True, one.limit or "memory"
            one.reason = f"{one.reason}; {excess}"

    def _prompted(self, one: Contender) -> None:
        if one.rung.name == rungs.MAJORITY or self.bench.facts[one.model].writes:
            self._choose_shots(one, self._subject(one))
        else:
            one.status, one.reason = "skipped", "skipped: an encoder answers with a head alone"

    def _subject(self, one: Contender) -> Subject:
        """What answers for the candidate."""
        if one.rung.name == rungs.MAJORITY:
            return Subject(one.model, constant=majority(self.bench))
        return Subject(one.model, one.rung.method, one.artefact)

    def _tuned_and_prompted(self, one: Contender) -> None:
        method = one.rung.method
        assert method is not None
        untunable = self.bench.facts[one.model].untunable
        if untunable is not None:
            one.status, one.reason = "skipped", f"skipped: {untunable}"
            return
        self.bench.let_go()  # what an open model holds is no part of what tuning will take
        try:
            one.predicted = tuning.predicted(self.bench, one.model, method)
        except ConfigError as error:  # as of virtual tokens that leave a prompt no room
            one.status = "skipped"
            one.reason = f"skipped: {method} does not fit this model ({error.message})"
            return
        one.expects_peak(sum(one.predicted["predicted_memory"].values()))
        done = self._tune(one, method)
        if done is None:
            return
        one.artefact, one.tuning = done.artefact, done.result
        one.trained_on = done.epochs * answering.train_tokens(self.bench, one.model)
        one.seconds += done.result["wall_seconds"]
        one.saw_peak(done.result["peak_bytes"])
        self._choose_shots(one, self._subject(one))
        if one.finished:
            self._measure_forgetting(one, forgetting.subject(self.bench, self._subject(one)))

    def _tune(self, one: Contender, method: str) -> tuning.Tuned | None:
        """The tuning, done now or before; None with status and reason set if it may not be."""
        key = (one.model, method)
        name = f"{self._names[one.model]}-{method}"
        if key in self._failed:
            first = self._failed[key].reason
            one.status, one.reason = "skipped", f"skipped: {name} was not tuned ({first})"
            return None
        if key not in self._tuned:
            folder = self.bench.folder / "candidates" / name
            self._failed[key] = one  # until it is done; a guard that refuses it leaves it here
            done = tuning.known(self.bench, one.model, method, folder)
            done = done or self._tune_in_time(one, method, folder)
            if done is None:
                return None
            del self._failed[key]
            self._tuned[key] = done
        return self._tuned[key]

    def _tune_in_time(self, one: Contender, method: str, folder: Path) -> tuning.Tuned | None:
        begun = tuning.begun(self.bench, one.model, method, folder)

        def refusal() -> Refusal | None:
            too_large = memory.refusal(self.bench, one.predicted_peak_bytes)
            return too_large or self.reserve.refusal_to_tune(one, begun)

        if refused(self.bench, one, method, refusal, begun):
            return None
        keep = self.reserve.after_tuning(one)
        late = self.bench.clock.deadline(keep)
        progress = self._named(one, "tuning")
        done = tuning.tuned(self.bench, one.model, method, folder, progress, late)
        if not done.stopped:
            return done
        one.seconds, one.peak_bytes = float(done.result["seconds"]), done.result["peak_bytes"]
        steps, total = done.result["steps"], done.result["steps_total"]
        reason = (
            f"stopped after {steps} of {total} steps: of {self.bench.clock.minutes:g} minutes no "
            f"more were left than the {seconds_text(keep)} that measuring needs; its checkpoint is "
            "kept, and with more minutes the same command goes on from there"
        )
        refused(self.bench, one, method, lambda: Refusal("minutes", reason), steps)
        return None

    def _choose_shots(self, one: Contender, subject: Subject) -> None:
        """Measure the candidate on development rows, with each number of examples it may have."""
        best: Answered | None = None
        one.status, one.reason = "skipped", "skipped: the examples do not fit the model's context"
        for k in {"none": (0,), "one": (1,), "few": rungs.FEW}[one.rung.shots]:
            shown = self._examples(one.model, k)
            if shown is None:
                one.tries(k, reason="the examples do not fit the context")
                continue
            if best is not None and one.shots != one.tried[-1]["shots"]:
                # Each step costs twice the last: one that did not help ends the search.
                reason = f"not tried: {one.tried[-1]['shots']} were no better than {one.shots}"
                one.tries(k, reason=reason)
                break
            found = self._ask_in_time(one, Question(subject, "development", shown))
            if found is None:
                one.tries(k, reason=one.reason)
                break
            value = interval(found.evaluation, self.bench.metric).value
            one.tries(k, value, found.seconds)
            if best is None or value > interval(best.evaluation, self.bench.metric).value:
                best, one.shots, one.examples = found, k, shown
        if best is None:
            return
        one.development = best.evaluation
        one.status, one.reason, one.limit = "done", one.choice(self.bench.metric), None
        if one.rung.shots == "few":
            one.name = f"{one.name}-{one.shots}"

    def _examples(self, model: str, k: int) -> tuple[Example, ...] | None:
        return answering.examples(self.bench, model, k) if k else ()

    def _ask_in_time(self, one: Contender, question: Question) -> Answered | None:
        """The answers, given now or before; None with status and reason set if there is no time."""
        shots = len(question.examples)
        step = f"{question.part} {shots}"
        needed = memory.to_answer(self.bench, question)
        if answering.known(self.bench, question):
            one.expects_peak(needed)
            return self._ask(one, question, 0.0)
        on_test = question.part == "test"
        keep = 0.0 if on_test else self.reserve.for_tests()

        def refusal() -> Refusal | None:
            too_large = memory.refusal(self.bench, needed)
            return too_large or self.reserve.refusal_to_ask(one, shots, on_test)

        if refused(self.bench, one, step, refusal):
            if one.predicted_peak_bytes is None:
                one.expects_peak(needed)
            return None
        one.expects_peak(needed)
        try:
            return self._ask(one, question, keep)
        except OutOfTime:
            reason = (
                f"stopped: the {self.bench.clock.minutes:g} minutes ended while it was measured"
            )
            refused(self.bench, one, step, lambda: Refusal("minutes", reason))
            return None

    def _ask(self, one: Contender, question: Question, keep: float) -> Answered:
        progress = self._named(one, f"{question.part} rows")
        found = answering.answered(self.bench, question, self.bench.clock.watch(progress, keep))
        one.saw_peak(found.peak_bytes)
        one.measuring_seconds += found.seconds
        self.reserve.learned(question, found.seconds)
        return found

    def _measure_forgetting(self, one: Contender, subject: Subject) -> None:
        if not forgetting.possible(self.bench, one.model):
            one.reason += forgetting.why_not(self.bench, one.model)
            return
        if not forgetting.known(self.bench, subject) and not self.bench.clock.fits(
            self.reserve.for_forgetting(one) + self.reserve.for_tests()
        ):
            one.reason += "; no time was left to measure forgetting"
            return
        needed = memory.to_score(self.bench, subject)
        if memory.refusal(self.bench, needed) is not None:
            one.reason += "; the memory allowed left no room to measure forgetting"
            return
        one.expects_peak(needed)
        one.kept = forgetting.measured(self.bench, subject)
        one.saw_peak(one.kept["peak_bytes"])
        one.measuring_seconds += one.kept["seconds"]
        self.reserve.learned_forgetting(one.model, one.kept["seconds"])

    def _score_on_test(self, front: list[choose.Standing]) -> None:
        """Baselines first, then the front from the best on development rows downwards, so that
        what runs out of time is what matters least."""
        best_first = sorted(front, key=lambda each: -each.quality.value)
        on_front = [one for each in best_first for one in self.contenders if one.name == each.name]
        models = {one.model for one in on_front}
        baselines = [
            one
            for one in self.contenders
            if one.rung.name in rungs.BASELINES and one.finished and one.model in models
        ]
        for one in dict.fromkeys([*baselines, *on_front]):
            self._test(one)

    def _test(self, one: Contender) -> None:
        status, reason = one.status, one.reason
        found = self._ask_in_time(one, Question(self._subject(one), "test", one.examples))
        if found is None:
            reason = f"{reason}; not scored on test rows ({one.reason})"
        else:
            one.test = found.evaluation
        one.status, one.reason = status, reason
        self._weigh(one)

    def _named(self, one: Contender, what: str) -> Progress:
        report = self.bench.tools.progress
        return lambda _, done, total: report(f"{one.name}: {what}", done, total)
