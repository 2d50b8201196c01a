"""Tune a model on rows: the whole of `tutelage tune`, resumable, with nothing lost.

    checkpoint + rows ──► examples ──► steps ──► loop ──► adapter or model folder
                             │                    │
                          set aside          OUT.state/step-*/   (an unfinished run's checkpoints)

The order of rows follows from the seed alone, so a run that is killed and started again makes the
same steps and ends bitwise where an undisturbed one does, on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.program import program_of
from tutelage.checkpoints.reading import Reading
from tutelage.code_hash import code_hash
from tutelage.data.pack import Example
from tutelage.data.rows import Row
from tutelage.errors import DataError, RequestError
from tutelage.machine.device import Placement, resolve, use_threads
from tutelage.machine.memory import Peak, freed_memory_kept
from tutelage.models.forward import Model
from tutelage.models.spec import Weight, layout, shape, spec_for
from tutelage.objectives import clm
from tutelage.peft import METHODS
from tutelage.peft._method import Method, settings_of
from tutelage.peft._virtual import token_table
from tutelage.progress import Progress, silent
from tutelage.train import fit, state
from tutelage.train.config import TuneConfig, refuse_fp16
from tutelage.train.examples import examples_of, schedule
from tutelage.train.loop import Plan
from tutelage.train.optimizer import adamw
from tutelage.train.predict import Prediction, predict_run
from tutelage.train.resumable import Deadline, Outcome, Work, resumable
from tutelage.train.schedule import Schedule

RESULT = "tutelage.json"


@dataclass(frozen=True)
class Run:
    """Everything a tuning run follows from, resolved."""

    checkpoint: Checkpoint
    method: Method
    config: TuneConfig
    settings: Any
    """The method's own, resolved."""
    placement: Placement
    threads: int
    weights: list[Weight]
    examples: list[Example]
    steps: list[list[Example]]
    set_aside: list[dict[str, str]]

    @property
    def layout(self) -> str:
        """Whose form what is written has: `model` a Hugging Face folder, `peft`, or `own`."""
        if not self.method.adapter:
            return "model"
        return "peft" if self.method.theirs else "own"

    def rows_used(self, steps: int) -> int:
        """How many rows the first so many steps see; two may be equal, and count as two."""
        return len({id(row) for step in self.steps[:steps] for row in step})

    @property
    def digest(self) -> str:
        """Ties checkpoints and results to the inputs and, after a colon, to the code that made
        them."""
        inputs = {
            "base": self.checkpoint.fingerprint,
            "config": self.config.model_dump(exclude={"save_seconds"}),
            "examples": [
                [e.ids, e.at, e.labels, e.weight, e.memory, e.lead] for e in self.examples
            ],
            "dtype": self.placement.dtype,
            "device": self.placement.device,
            "threads": self.threads,
        }
        code = {"torch": torch.__version__, "code": code_hash(__name__)}
        return f"{store.digest(inputs)}:{store.digest(code)}"


def prepare(
    source: str,
    rows: Sequence[Row],
    config: TuneConfig,
    *,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
    strict: bool = False,
) -> Run:
    """Resolve a request without building the model. Raises RequestError for what cannot be done:
    an unknown method or role, a rank too large, no usable row, with `strict` a row that is not."""
    placement = resolve(device, dtype, exact)
    refuse_fp16(placement.dtype)
    if program_of(source).adapter is not None:
        raise RequestError(
            f"{source} recommends an adapter, which cannot be tuned on",
            field="MODEL",
            hint="tune its base, or a run that recommends a whole model",
        )
    checkpoint = open_checkpoint(source, seed=config.seed)
    _refuse_encoder(checkpoint)
    method: Method = METHODS.get(config.method, field="--method")
    weights = layout(checkpoint.config)
    sizes = shape(checkpoint.config)
    settings = method.resolve(settings_of(method, config.options), weights, sizes)
    first = token_table(weights).shape[0]
    virtual = tuple(range(first, first + method.virtual(settings)))
    reading = Reading.of(checkpoint).behind(virtual)
    examples, set_aside = examples_of(rows, reading, strict=strict)
    if not examples:
        raise _none_usable(len(rows), set_aside)
    steps = schedule(examples, config)
    resolved = config.model_copy(
        update={
            "options": settings.model_dump(),
            "learning_rate": config.learning_rate or method.learning_rate,
            "steps": len(steps),
        }
    )
    return Run(
        checkpoint, method, resolved, settings, placement, use_threads(threads), weights,
        examples, steps, set_aside,
    )  # fmt: skip


def predict(run: Run) -> Prediction:
    """What the run will take, before anything is built."""
    return predict_run(
        run.weights, run.method.cost(run.weights, run.settings), run.config, run.steps,
        run.placement, shape(run.checkpoint.config).heads, run.threads,
    )  # fmt: skip


def tune(
    source: str,
    rows: Sequence[Row],
    config: TuneConfig,
    out: Path,
    *,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
    deadline: Deadline | None = None,
    **where: Any,
) -> dict[str, Any]:
    """Tune and write `out`: an adapter in PEFT's layout, or a model folder (see the method).

    `where` is device, dtype, exact, threads, strict. `deadline` is asked after each step: true
    saves a checkpoint and returns with status "stopped"; the same call later goes on. A finished
    `out` of the same request is returned as it is. Raises GuardError where training would teach
    nothing, MemoryLimitError naming the setting that would fit.
    """
    run = prepare(source, rows, config, **where)
    folder = out.with_name(out.name + ".state")
    done = _finished(run, out)
    if done is not None and not folder.exists():
        return done
    with store.lock(folder):
        store.sweep(folder)
        result = _finished(run, out)  # who held the lock before may have finished it
        if result is None:
            result = _made(run, folder, out, progress, note, deadline)
        if result["status"] == "done":
            state.discard(folder)
    return result


def _made(
    run: Run, folder: Path, out: Path, progress: Progress, note: Callable[[str], None],
    deadline: Deadline | None,
) -> dict[str, Any]:  # fmt: skip
    """Train, and write the result beside the checkpoints, where a killed writer's leftovers are
    swept, before it appears at `out`."""
    prediction = predict(run)
    room = fit.room(run.placement.device)
    with Peak() as peak, freed_memory_kept():
        try:
            model = build(run.checkpoint, run.placement.dtype, run.placement.device)
            outcome = _train(run, model, folder, progress, note, deadline)
        except (MemoryError, RuntimeError) as error:
            if not fit.is_out_of_memory(error):
                raise
            raise fit.too_large(error, run.config, lambda c: _needed(run, c), room) from error
    result = _result(run, out, outcome, prediction, peak.bytes)
    if outcome.stopped:
        return result
    with store.new_folder(folder / "result") as inside:
        run.method.write(model, run.checkpoint, run.settings, inside)
        store.write_json(inside / RESULT, {"request": run.digest, **result})
    store.move(folder / "result", out)
    return result


def _train(
    run: Run, model: Model, folder: Path, progress: Progress, note: Callable[[str], None],
    deadline: Deadline | None,
) -> Outcome:  # fmt: skip
    model.train()
    run.method.attach(model, run.weights, run.settings, run.config.seed)
    model.checkpointing = run.config.checkpointing
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rate, total = run.config.learning_rate, len(run.steps)
    assert rate is not None
    seed, parts = run.config.seed, run.config.micro_batches
    plan = Plan(Schedule.tuning(total, rate), micro_batches=parts, seed=seed)
    work = Work(model, parameters, adamw(parameters, rate), run.steps, clm.loss, plan)
    return resumable(
        work,
        folder,
        run.digest,
        save_seconds=run.config.save_seconds,
        note=note,
        report=lambda step, at: progress(
            f"{run.method.name}: loss {step.loss:.3f}, step", at.step, total
        ),
        deadline=deadline,
    )


def _result(
    run: Run, out: Path, outcome: Outcome, prediction: Prediction, peak: int
) -> dict[str, Any]:
    """The contract's object, and what the ladder and the report need beyond it."""
    at = outcome.progress
    return {
        "out": str(out),
        "method": run.method.name,
        "status": "stopped" if outcome.stopped else "done",
        "layout": run.layout,
        "trained_parameters": run.method.count(run.weights, run.settings),
        "trained_tokens": at.trained_tokens,
        "rows": {"used": run.rows_used(at.step), "set_aside": len(run.set_aside)},
        "loss": {"first": at.curve[0][2], "last": at.curve[-1][2]} if at.curve else None,
        "seconds": at.seconds,
        "peak_bytes": peak,
        "predicted_peak_bytes": prediction.peak_bytes,
        "forgetting": None,
        "steps": at.step,
        "steps_total": len(run.steps),
        "curve": [{"step": s, "seconds": t, "loss": v} for s, t, v in at.curve],
        "settings": run.config.model_dump(mode="json"),
        "predicted_seconds": prediction.seconds,
        "predicted_memory": prediction.memory,
        "set_aside": run.set_aside,
        "base": {"source": run.checkpoint.source, "fingerprint": run.checkpoint.fingerprint},
    }


def _finished(run: Run, out: Path) -> dict[str, Any] | None:
    """The result of an identical finished run. Raises RequestError if `out` holds anything else."""
    if not out.exists():
        return None
    apart = ""
    if (out / RESULT).is_file():
        stored: Any = store.read_json(out / RESULT)
        request = stored.pop("request", None) if isinstance(stored, dict) else None
        if request == run.digest:
            store.verify(out)
            return dict(stored)
        apart = state.apart(request, run.digest)
    raise RequestError(
        f"{out} exists and holds something else{apart}",
        field="--out",
        hint="remove it, or choose another folder" if apart else "choose another folder",
    )


def _needed(run: Run, config: TuneConfig) -> int:
    """Bytes the run would add with other settings, to what the process holds already."""
    changed = replace(run, config=config, steps=schedule(run.examples, config))
    return sum(size for name, size in predict(changed).memory.items() if name != "runtime")


def _refuse_encoder(checkpoint: Checkpoint) -> None:
    """An encoder sees the token it would be asked to predict next, and would learn to copy it."""
    if spec_for(checkpoint.config).family == "encoder":
        raise RequestError(
            "an encoder cannot be taught to answer: it reads whole texts and writes none",
            field="MODEL",
            got=checkpoint.source,
            expected="a decoder or an encoder-decoder",
        )


def _none_usable(count: int, set_aside: Sequence[dict[str, str]]) -> DataError:
    first = set_aside[0] if set_aside else None
    return DataError(
        "no row can be trained on",
        field="data",
        got=f"{count} rows",
        expected="at least one usable row",
        hint=f"the first: {first['where']}: {first['detail']} ({first['reason']})"
        if first
        else None,
    )
