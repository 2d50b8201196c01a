"""Pains of runs: no room left after hours, wrongly gone on with, options without effect."""

from __future__ import annotations

import errno
import importlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.guards.guard import Guard, Patch, Ways, unless_refused
from tests.guards.learning import USER, WHERE
from tests.unit.train.rows import SOURCE, config, rows_of
from tests.unit.train.rows import tuned as run_tuned
from tutelage import store
from tutelage.backends.local import LocalLM
from tutelage.config import Frozen, validate
from tutelage.data.pack import Example
from tutelage.errors import ConfigError, RequestError, TutelageError
from tutelage.generate.engine import Engine
from tutelage.kernels import library as kernels
from tutelage.lifecycle.project import Project
from tutelage.lm import Request, complete
from tutelage.train import examples, loop, prepare, rehearsal, state
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"


def run_of(settings: TuneConfig | None = None, count: int = 12) -> prepare.Run:
    return prepare.prepare(SOURCE, rows_of(count), settings or config(), **WHERE)


def it_fails_after_its_steps(folder: Path, patch: Patch) -> Ways:
    """1: the longest batch, an answer or the result is too much, and that shows after steps."""
    for fault in (no_room_for_the_longest, no_room_for_an_answer, no_room_on_the_disk):
        with pytest.MonkeyPatch.context() as broken:
            fault(broken)
            lost = _lost(folder / fault.__name__)
        yield lost


def _lost(folder: Path) -> str | None:
    """How many steps, by a run that its rehearsal let pass."""
    made: list[int] = []
    rows = [*rows_of(), replace(rows_of()[0], id="long", completion="x" * 200)]
    run = prepare.prepare(SOURCE, rows, config(), **WHERE)
    assert "long" not in {row.name for row in run.steps[0]}, "else the run fails at once"
    if unless_refused(TutelageError, lambda: [rehearsal.rehearse(run, folder)]) is None:
        return None
    try:
        tune(SOURCE, rows, config(), folder / "out", deadline=lambda: bool(made.append(1)), **WHERE)
        lm = LocalLM.open(SOURCE, adapter=folder / "out", **WHERE)
        complete(lm, [Request(USER, max_new_tokens=2)])
    except TutelageError as error:
        return f"{len(made)} steps, then: {error.message}" if made else None
    return None


def no_room_for_the_longest(patch: Patch) -> None:
    pack = loop.pack

    def packed(rows: Sequence[Example]) -> Any:
        if any(row.name == "long" for row in rows):
            raise RuntimeError(NO_MEMORY)
        return pack(rows)

    patch.setattr(loop, "pack", packed)


def no_room_for_an_answer(patch: Patch) -> None:
    def run(self: Engine, *given: Any, **named: Any) -> Any:
        raise RuntimeError(NO_MEMORY)

    patch.setattr(Engine, "run", run)


def no_room_on_the_disk(patch: Patch) -> None:
    def full(operation: str, path: Path) -> None:
        if path.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, "no room")

    patch.setattr(store, "before", full)


def no_rehearsal(patch: Patch) -> None:
    patch.setattr(rehearsal, "rehearse", lambda run, near=None: None)


def memory_runs_out(folder: Path, patch: Patch) -> Ways:
    """2: who runs out of memory does not learn which setting would fit."""

    def exhausted(*given: Any, **named: Any) -> Any:
        raise RuntimeError(NO_MEMORY)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(prepare, "build", exhausted)
        try:
            run_tuned(folder / "out")
        except (TutelageError, RuntimeError) as error:
            hint = str(getattr(error, "hint", None))
            yield None if "--micro-batches" in hint else f"no more than: {error}"


def no_hint(patch: Patch) -> None:
    patch.setattr(prepare, "is_exhausted", lambda error: False)


def a_resumed_run_forgets_its_moments(folder: Path, patch: Patch) -> Ways:
    """10: stopped and gone on with ends elsewhere than never stopped."""
    run_tuned(folder / "whole")
    seen: list[int] = []
    run_tuned(folder / "out", deadline=lambda: seen.append(1) is None and len(seen) == 3)
    run_tuned(folder / "out")
    whole, resumed = (
        load_file(folder / name / "adapter_model.safetensors") for name in ("whole", "out")
    )
    apart = max(float((value - resumed[name]).abs().max()) for name, value in whole.items())
    yield f"weights are {apart:.2g} away" if apart else None


def no_moments(patch: Patch) -> None:
    patch.setattr(state, "restore_optimizer", lambda *given: None)


def rows_are_dropped_when_it_goes_on(folder: Path, patch: Patch) -> Ways:
    """11: a run that goes on in the middle of its rows drops some, and sees others twice."""
    once = config(steps=None, epochs=1.0)
    before, after = run_of(once, 60).steps, run_of(once, 60).steps
    half = len(before) // 2
    seen = {row.name for step in (*before[:half], *after[half:]) for row in step}
    yield f"{60 - len(seen)} of 60 rows are dropped" if len(seen) < 60 else None


def any_order(patch: Patch) -> None:
    fresh = random.SystemRandom
    patch.setattr(examples.random, "Random", lambda seed: fresh())


def a_checkpoint_is_tied_to_its_process(folder: Path, patch: Patch) -> Ways:
    """12: a checkpoint is what one process held, and no tensors that others would know."""
    run_tuned(folder / "out", deadline=lambda: True)
    (kept,) = (folder / "out.state").glob("step-*")
    _, work = prepare.working(run_of())
    names = set(work.parameters)
    for file in ("weights", "optimizer"):
        held = {name.partition(":")[0] for name in load_file(kept / f"{file}.safetensors")}
        yield f"{file} hold {sorted(held)[:3]}" if held != names else None


def one_flat_tensor(patch: Patch) -> None:
    write = state.write_tensors

    def flat(tensors: Any, path: Path) -> None:
        write({"rank0": torch.cat([value.flatten().float() for value in tensors.values()])}, path)

    patch.setattr(state, "write_tensors", flat)


def an_option_is_ignored(folder: Path, patch: Patch) -> Ways:
    """18: a mistyped key, one in a table of the project file, and a method's unknown option do
    nothing, and nobody is told."""
    usual = TuneConfig().learning_rate
    asked = unless_refused(ConfigError, lambda: validate(TuneConfig, {"learning_rat": 0.1}))
    yield f"learning_rat = 0.1 is {usual}" if asked and asked.learning_rate == usual else None
    task = {"data": "rows.jsonl", "metric": "rougeL", "gaol": 0.9}
    file = {"name": "x", "task": task, "models": {"candidates": [SOURCE]}}
    project = unless_refused(ConfigError, lambda: validate(Project, file))
    yield f"gaol = 0.9 is {project.task.goal}" if project and project.task.goal is None else None
    options = {"rank": 4}
    run = unless_refused(ConfigError, lambda: run_of(config(method="ia3", options=options)))
    yield f"--rank 4 trains {run.trained_parameters} weights as ever" if run else None


def unknown_is_dropped(patch: Patch) -> None:
    """As pydantic does unless told otherwise."""
    read = Frozen.model_validate.__func__
    ignoring = classmethod(lambda schema, values: read(schema, values, extra="ignore"))
    patch.setattr(Frozen, "model_validate", ignoring)
    strict = prepare.settings_of

    def lenient(method: Any, given: Any) -> Any:
        known = method.settings.model_fields
        return strict(method, {name: value for name, value in given.items() if name in known})

    patch.setattr(prepare, "settings_of", lenient)


def another_version_goes_on(folder: Path, patch: Patch) -> Ways:
    """19: what one version of torch began another goes on with, and nobody is told."""
    run_tuned(folder / "out", deadline=lambda: True)
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(torch, "__version__", "99.0.0")
        done = unless_refused(RequestError, lambda: run_tuned(folder / "out"))
    yield f"{done['steps']} steps of two versions are one result" if done else None


def any_version(patch: Patch) -> None:
    whole = prepare.Run.digest.fget
    assert whole is not None
    patch.setattr(prepare.Run, "digest", property(lambda run: whole(run).partition(":")[0]))


def a_kernel_is_needed(folder: Path, patch: Patch) -> Ways:
    """20: without the compiled library nothing works, or works otherwise."""
    first = run_tuned(folder / "with")["loss"]["last"]
    kernels.library.cache_clear()
    with pytest.MonkeyPatch.context() as missing:
        missing.setattr(kernels.Path, "glob", lambda self, pattern: iter(()))
        found = kernels.library()
        try:
            second = run_tuned(folder / "without")["loss"]["last"]
            same = found is None and first == pytest.approx(second, rel=1e-3)
            yield None if same else f"loss {second:.4f} instead of {first:.4f}"
        except AssertionError:  # of whoever calls it, in `kernels.library.loaded`
            yield "nothing is tuned without the library"
        finally:
            kernels.library.cache_clear()


def the_library_is_taken_for_granted(patch: Patch) -> None:
    for name in ("norm", "rope", "mlp", "packed", "cache"):
        module = importlib.import_module(f"tutelage.nn.{name}")
        if hasattr(module, "computes"):
            patch.setattr(module, "computes", lambda x: True)


GUARDS = [
    Guard(1, it_fails_after_its_steps, no_rehearsal),
    Guard(2, memory_runs_out, no_hint),
    Guard(10, a_resumed_run_forgets_its_moments, no_moments),
    Guard(11, rows_are_dropped_when_it_goes_on, any_order),
    Guard(12, a_checkpoint_is_tied_to_its_process, one_flat_tensor),
    Guard(18, an_option_is_ignored, unknown_is_dropped),
    Guard(19, another_version_goes_on, any_version),
    Guard(20, a_kernel_is_needed, the_library_is_taken_for_granted),
]
