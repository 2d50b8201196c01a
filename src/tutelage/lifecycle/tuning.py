"""Stages that tune: what a tuning is predicted to take, and the tuning itself.

A tuned artefact lies in `candidates/NAME/`, its checkpoints beside it while the work goes on, and
the stage remembers the artefact's manifest: a damaged artefact is made again. Knows nothing of
budgets beyond the deadline it hands on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.errors import DamagedError
from tutelage.lifecycle.bench import Bench
from tutelage.lifecycle.material import digest
from tutelage.lifecycle.stages import Result, Stage
from tutelage.peft import METHODS
from tutelage.progress import Progress

CODE = (__name__, "tutelage.train.tune")
"""What a tuning, and its prediction, follow from: this file, and the tuning it is handed."""
KEY = "key.json"
STATE = ".state"


@dataclass(frozen=True)
class Tuned:
    """A finished tuning, or with `status` stopped one whose checkpoint waits in the folder."""

    artefact: Path
    result: dict[str, Any]

    @property
    def stopped(self) -> bool:
        return bool(self.result["status"] == "stopped")

    @property
    def epochs(self) -> float:
        """Passes over the rows that were really made."""
        epochs = self.result["settings"].get("epochs")
        return 1.0 if epochs is None else float(epochs)


def settings(bench: Bench, method: str) -> dict[str, Any]:
    """What `tune` is asked for; all else is the method's default."""
    wanted = bench.project.tuning
    shared = wanted.interpolate < 1 and METHODS.get(method).on_a_line
    given = {
        "head": wanted.head, "epochs": wanted.epochs, "steps": wanted.steps,
        "batch_tokens": wanted.batch_tokens, "pull": wanted.pull or None,
        "interpolate": wanted.interpolate if shared else None,
        "options": wanted.options.get(method) or None,
    }  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    return {"method": method, "seed": bench.seed, **asked}


def predicted(bench: Bench, model: str, method: str) -> Result:
    """Seconds, bytes by component, and trained parameters, before anything is done."""

    def make() -> Result:
        return bench.tools.predict(model, bench.learned(), settings(bench, method))

    stage = Stage(f"predict-{method}", _inputs(bench, model, method), make, CODE)
    return bench.stages.run(stage)


def known(bench: Bench, model: str, method: str, folder: Path) -> Tuned | None:
    """The tuning if it was finished before and its artefact is whole."""
    found = bench.stages.done(_stage(bench, model, method, folder, _unmade))
    if found is None:
        return None
    artefact = _artefact(folder, method)
    _drop_checkpoints(artefact)
    return Tuned(artefact, found)


def begun(bench: Bench, model: str, method: str, folder: Path) -> int:
    """Steps of this very work that a checkpoint in `folder` holds; 0 if there is none."""
    if not _same(folder, bench.stages.key(_stage(bench, model, method, folder, _unmade))):
        return 0
    artefact = _artefact(folder, method)
    checkpoints = artefact.with_name(artefact.name + STATE).glob("step-*")
    for checkpoint in sorted(checkpoints, reverse=True):
        try:
            return int(store.read_json(checkpoint / "progress.json")["step"])
        except (DamagedError, FileNotFoundError, KeyError, TypeError, ValueError):
            continue  # tuning names it and takes the one before it
    return 0


def tuned(
    bench: Bench,
    model: str,
    method: str,
    folder: Path,
    progress: Progress,
    deadline: Callable[[], bool],
) -> Tuned:
    """Tune, going on from the last checkpoint in `folder` if it belongs to the same work."""
    artefact = _artefact(folder, method)

    def make() -> Result:
        bench.let_go()
        _remove_damaged(artefact)
        begun = bench.tools.now()
        result = bench.tools.tune(
            model,
            bench.learned(),
            settings(bench, method),
            artefact,
            progress=progress,
            deadline=deadline,
        )
        if result["status"] == "stopped":
            raise _Stopped(result)
        return {
            **result,
            "wall_seconds": max(bench.tools.now() - begun, float(result["seconds"])),
            "manifest": store.sha256(artefact / store.MANIFEST),
        }

    stage = _stage(bench, model, method, folder, make)
    _own(folder, bench.stages.key(stage))
    try:
        result = bench.stages.run(stage)
    except _Stopped as stopped:
        return Tuned(artefact, stopped.result)
    _drop_checkpoints(artefact)
    return Tuned(artefact, result)


def _remove_damaged(artefact: Path) -> None:
    """Its stage has named the damage already; what is there cannot be gone on from."""
    if artefact.exists():
        try:
            store.verify(artefact)
        except DamagedError:
            shutil.rmtree(artefact)


def _drop_checkpoints(artefact: Path) -> None:
    shutil.rmtree(artefact.with_name(artefact.name + STATE), ignore_errors=True)


class _Stopped(Exception):
    """Carries the result of a tuning that the deadline ended past the cache."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("stopped")
        self.result = result


def _stage(
    bench: Bench, model: str, method: str, folder: Path, make: Callable[[], Result]
) -> Stage:
    artefact = _artefact(folder, method)

    def check(result: Result) -> None:
        store.verify(artefact)
        if store.sha256(artefact / store.MANIFEST) != result["manifest"]:
            raise DamagedError(f"{artefact} is not what was tuned here", field=str(artefact))

    return Stage(f"tune-{method}", _inputs(bench, model, method), make, CODE, check)


def _inputs(bench: Bench, model: str, method: str) -> dict[str, Any]:
    return {
        "model": bench.facts[model].fingerprint,
        "train": digest(bench.learned()),
        "settings": settings(bench, method),
    }


def _artefact(folder: Path, method: str) -> Path:
    return folder / ("adapter" if METHODS.get(method).adapter else "model")


def _own(folder: Path, key: str) -> None:
    """Clear the folder of checkpoints and artefacts that belong to other work."""
    if not _same(folder, key):
        shutil.rmtree(folder, ignore_errors=True)
        store.write_json(folder / KEY, {"key": key})


def _same(folder: Path, key: str) -> bool:
    try:
        return bool(store.read_json(folder / KEY) == {"key": key})
    except (DamagedError, FileNotFoundError):
        return False


def _unmade() -> Result:
    raise AssertionError("only looked up, never made")
