"""A search for the settings of a tuning: many short runs on part of the rows, scored on the rest.

    learning rate, and any settings with several values        proposed by TPE
    loss on development rows after each rung of steps          a trial among the worse half ends
                                                               (a head's own where it has one)

    found = search(source, rows, config, Asked(trials=12), folder)

Goes on where it was killed: finished trials lie in the folder, and what is proposed follows from
the seed and from those. The best learning rate may not lie at the edge of what may be tried: the
range is then widened. Proposals and pruning are Optuna's: Bergstra et al. 2011, "Algorithms for
Hyper-Parameter Optimization" (TPE); Li et al. 2020, arXiv:1810.05934 (successive halving).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tutelage import store
from tutelage.corpus.extras import needed
from tutelage.data.pack import Example, batch
from tutelage.data.rows import Row
from tutelage.data.split import Sizes, split
from tutelage.errors import ConfigError, DamagedError, DataError, GuardError, RequestError
from tutelage.generate.score import score
from tutelage.machine.memory import freed_memory_kept
from tutelage.models.forward import Model
from tutelage.peft._method import flag
from tutelage.progress import Progress, silent
from tutelage.train.config import TuneConfig
from tutelage.train.loop import loss_of, train
from tutelage.train.prepare import Run, memory_named, prepare, settled, working

STUDY, REQUEST = "study.log", "search.json"
RATE = "learning_rate"
SPAN = 8.0
"""The range of the learning rate: the method's default over this, to it times this."""
WIDENED, WIDENINGS = 4.0, 3
EDGE = 1.5
"""The best rate is at the edge if it is within this factor of the range's end."""
HIGHEST = 0.9
PACK_TOKENS = 2048
"""Of rows that a head is scored on at once."""
Rows = Sequence[Row]
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """`trials` in all, a third as many more for each widening; each is scored after so many shares
    (`rungs`) of its steps; `development` is the share of rows kept for that; `choices` are further
    settings of the method with the values to try, which may be lists."""

    trials: int = 12
    rungs: int = 4
    development: float = 0.15
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def search(
    source: str, rows: Rows, config: TuneConfig, asked: Asked, out: Path, *,
    progress: Progress = silent, deadline: Callable[[], bool] | None = None, **where: Any,
) -> Json:  # fmt: skip
    """The best settings and what every trial found. `deadline` is asked between trials: true ends
    the search, and the same call later goes on. Raises what `prepare` raises, DataError for too few
    rows, ConfigError for choices that are none, and RequestError for a folder that holds another
    search; all of these before anything is written."""
    needed("optuna", "search", "the search for settings")
    count = max(1, round(asked.development * len(rows)))
    parts = split(rows, Sizes(development=count, test=0), config.seed)
    first = prepare(source, parts.train, config, **where)
    _refuse_choices(first, config.options, asked.choices)
    _refuse_unscored(first, parts.development)
    work = _Search(source, parts.train, parts.development, config, first, asked, where)
    began = time.monotonic()
    with store.lock(out):
        study = work.study(out)
        while (limit := work.limit(study)) is not None and not (deadline and deadline()):
            progress("search", len(_ended(study)), limit)
            work.try_one(study)
    return {"out": str(out), **work.found(study), "seconds": time.monotonic() - began}


@dataclass(frozen=True)
class _Search:
    source: str
    learned: Rows
    scored: Rows
    config: TuneConfig
    first: Run
    """Of the settings as given: what all trials share."""
    asked: Asked
    where: Mapping[str, Any]

    def study(self, out: Path) -> Any:
        """What was tried before, or nothing yet. Trials that a kill cut off are to be repeated."""
        optuna = needed("optuna", "search", "the search for settings")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        request = store.digest([self.first.digest, asdict(self.asked)])
        if not (out / REQUEST).is_file():
            store.write_json(out / REQUEST, {"request": request})
        if store.read_json(out / REQUEST).get("request") != request:
            raise RequestError(
                f"{out} holds another search", field="--out", hint="remove it, or name another"
            )
        _after_a_kill(out)
        backend = optuna.storages.journal.JournalFileBackend(str(out / STUDY))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="search",
            load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        )
        if not study.trials:
            study.enqueue_trial({RATE: self.first.config.learning_rate})
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)
        return study

    def limit(self, study: Any) -> int | None:
        """Trials to be made in all, as far as is known; None if no more are wanted."""
        ended = len(_ended(study))
        widenings = self._widenings(study)
        limit = self.asked.trials + widenings * max(self.asked.trials // 3, 1)
        return limit if ended < limit else None

    def _range(self, widenings: int, upward: bool) -> tuple[float, float]:
        rate = self.first.config.learning_rate or 0.0
        factor = WIDENED**widenings
        low, high = rate / SPAN, min(rate * SPAN, HIGHEST)
        return (low, min(high * factor, HIGHEST)) if upward else (low / factor, high)

    def _widenings(self, study: Any) -> int:
        """How often the range is to be widened, on the side where the best is at its end."""
        ended = _ended(study)
        for count in range(WIDENINGS):
            enough = self.asked.trials + count * max(self.asked.trials // 3, 1)
            if len(ended) < enough or not self._at_edge(ended[:enough], count):
                return count
        return WIDENINGS

    def _at_edge(self, ended: Sequence[Any], widenings: int) -> bool:
        rate, upward = self._side(ended)
        low, high = self._range(widenings, upward)
        return rate < low * EDGE or (rate > high / EDGE and high < HIGHEST)

    def _side(self, ended: Sequence[Any]) -> tuple[float, bool]:
        """The best rate, and whether it is above the default."""
        rate = float(_best(ended).params[RATE]) if ended else 0.0
        return rate, rate > (self.first.config.learning_rate or 0.0)

    def try_one(self, study: Any) -> None:
        """One trial, to its end or until it is among the worse half at a rung. One whose loss is no
        number, or that teaches nothing, is the worst."""
        optuna = needed("optuna", "search", "the search for settings")
        trial, options = self._proposed(optuna, study)
        began = time.monotonic()
        loss, steps = float("inf"), 0
        try:
            for steps, loss in self._scored(trial.params[RATE], options):
                rung = round(steps * self.asked.rungs / self._total)
                trial.report(loss, rung)
                if rung < self.asked.rungs and trial.should_prune():
                    break
        except GuardError as error:
            loss = float("inf")
            trial.set_user_attr("reason", error.message)
        trial.set_user_attr("steps", steps)
        trial.set_user_attr("seconds", time.monotonic() - began)
        ended = steps == self._total or loss == float("inf")
        states = optuna.trial.TrialState
        study.tell(trial, loss if ended else None, states.COMPLETE if ended else states.PRUNED)

    def _proposed(self, optuna: Any, study: Any) -> tuple[Any, Json]:
        """The next trial and the method's settings in it. Who proposes begins anew each time, from
        the seed and what is known, so that a search that was killed proposes the same."""
        ended = _ended(study)
        seed = self.first.config.seed * 1000 + len(ended)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
        low, high = self._range(self._widenings(study), self._side(ended)[1])
        trial = study.ask()
        trial.suggest_float(RATE, low, high, log=True)
        options = dict(self.config.options)
        for name, values in self.asked.choices.items():
            kept = trial.suggest_categorical(name, list(map(_named, values)))
            options[name] = self._chosen(name, kept)
        return trial, options

    def _chosen(self, name: str, kept: Any) -> Any:
        """The value that the study keeps so; a learning rate is itself."""
        return next((v for v in self.asked.choices.get(name, ()) if _named(v) == kept), kept)

    @property
    def _total(self) -> int:
        return len(self.first.steps)

    def _scored(self, rate: float, options: Json) -> Iterator[tuple[int, float]]:
        """After each rung the steps made and the loss on development rows."""
        config = self.config.model_copy(update={"learning_rate": rate, "options": options})
        run = prepare(self.source, self.learned, config, **self.where)
        rungs = range(1, self.asked.rungs + 1)
        marks = {max(1, round(self._total * rung / self.asked.rungs)) for rung in rungs}
        with freed_memory_kept(), memory_named(run):
            model, work = working(run)
            rows = run.examples_of(self.scored)
            steps = train(model, work.parameters, work.optimizer, work.steps, work.loss, work.plan)
            for step in steps:
                if step.number + 1 in marks:
                    yield step.number + 1, _loss(run, model, rows)

    def found(self, study: Any) -> Json:
        """The best, and every trial."""
        ended = _ended(study)
        best = _best(ended) if ended and _score(_best(ended)) < float("inf") else None
        return {
            "method": self.first.method.name,
            "best": None if best is None else self._said(best),
            "at_edge": None if best is None else self._at_edge(ended, self._widenings(study)),
            "development": len(self.scored),
            "trials": [self._said(trial) for trial in ended],
        }

    def _said(self, trial: Any) -> Json:
        loss = _score(trial)
        finite = loss < float("inf")
        return {
            "number": trial.number,
            "status": "done" if trial.state.name == "COMPLETE" else "ended early",
            "settings": {name: self._chosen(name, kept) for name, kept in trial.params.items()},
            "loss": loss if finite else None,
            "reason": trial.user_attrs.get("reason"),
            "steps": trial.user_attrs.get("steps"),
            "seconds": trial.user_attrs.get("seconds"),
        }


def _after_a_kill(out: Path) -> None:
    """Take away what a kill left of a line it was writing, and the library's lock, which waits for
    its holder: whoever is here holds the folder's own. Raises DamagedError for a line that is
    none."""
    journal = out / STUDY
    (out / f"{STUDY}.lock").unlink(missing_ok=True)
    if not journal.is_file():
        return
    *lines, rest = journal.read_bytes().split(b"\n")
    if rest:
        os.truncate(journal, journal.stat().st_size - len(rest))
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise DamagedError(
                f"{journal} is damaged", field=f"{journal}:{number}", got=error,
                expected="what was written", hint="remove the folder and search again",
            ) from None  # fmt: skip


def _ended(study: Any) -> list[Any]:
    """Trials that are done, by number."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _best(ended: Sequence[Any]) -> Any:
    """Of those that came furthest, the one with the lowest loss."""
    furthest = max(len(trial.intermediate_values) for trial in ended)
    last = [trial for trial in ended if len(trial.intermediate_values) == furthest]
    return min(last, key=_score)


def _score(trial: Any) -> float:
    values = trial.intermediate_values
    return float(values[max(values)]) if values else float("inf")


def _named(value: Any) -> Any:
    """A value as the study keeps it, which knows no lists."""
    return "+".join(map(str, value)) if isinstance(value, list) else value


def _loss(run: Run, model: Model, rows: Sequence[Example]) -> float:
    """Nats a token of the answers; of a head its own loss."""
    model.eval()
    if run.task is None:
        found = [row.log_probabilities for row in score(model, rows)]
        total, count = -sum(map(sum, found)), float(sum(map(len, found)))
    else:
        packs = batch(rows, range(len(rows)), PACK_TOKENS)
        with torch.inference_mode():
            sums = [loss_of(model, [rows[n] for n in pack], run.loss) for pack in packs]
        total, count = sum(float(one.total) for one in sums), sum(one.count for one in sums)
    model.train()
    return total / count


def _refuse_choices(run: Run, given: Json, choices: Mapping[str, Sequence[Any]]) -> None:
    """Raise ConfigError for a setting that the method has not or that is given already, and for
    values that do not fit the model, also together."""
    for name in choices:
        if name in given:
            raise ConfigError(
                f"{flag(name)} is given, and is to be chosen", field="--choose", got=name,
                expected="one of both",
            )  # fmt: skip
    for values in product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        try:
            settled(run.method, {**given, **chosen}, run.checkpoint)
        except RequestError as error:
            raise ConfigError(
                error.message, field="--choose",
                got=", ".join(f"{name}={_named(value)}" for name, value in chosen.items()),
                expected=error.expected, hint=error.hint,
            ) from None  # fmt: skip


def _refuse_unscored(run: Run, rows: Rows) -> None:
    """Raise DataError where no row that is kept to score on can be read."""
    if not run.examples_of(rows):
        raise DataError(
            "none of the rows that are kept to score on can be used", field="data",
            got=f"{len(rows)} rows", expected="at least one",
        )  # fmt: skip
