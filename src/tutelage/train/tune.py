"""Tune a model on rows: the whole of `tutelage tune`, resumable, with nothing lost.

    checkpoint + rows ──► examples ──► steps ──► loop ──► adapter or model folder
                             │                    │
                          set aside          OUT.state/step-*/   (an unfinished run's checkpoints)

The order of rows follows from the seed alone, so a run that is killed and started again makes the
same steps and ends bitwise where an undisturbed one does, on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.data.rows import Row
from tutelage.errors import RequestError
from tutelage.machine.memory import Peak, freed_memory_kept
from tutelage.machine.products import Products
from tutelage.progress import Progress, silent
from tutelage.train import history, state
from tutelage.train.collapsed import collapsed
from tutelage.train.config import TuneConfig
from tutelage.train.loop import Step
from tutelage.train.predict import Prediction
from tutelage.train.prepare import Run, memory_named, predict, prepare, working
from tutelage.train.resumable import Deadline, Outcome, resumable
from tutelage.train.start import interpolate

RESULT = "tutelage.json"


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
    store.check_place(out)
    with store.lock(folder):
        store.sweep(folder)
        result = _finished(run, out)  # who held the lock before may have finished it
        if result is None:
            result = _made(run, rows, folder, out, progress, note, deadline)
        if result["status"] == "done":
            state.discard(folder)
    return result


def _made(
    run: Run, rows: Sequence[Row], folder: Path, out: Path, progress: Progress,
    note: Callable[[str], None], deadline: Deadline | None,
) -> dict[str, Any]:  # fmt: skip
    """Train, and write the result beside the checkpoints, where a killed writer's leftovers are
    swept, before it appears at `out`."""
    prediction = predict(run)
    total = len(run.steps)
    marks: dict[int, float] = {}

    def report(step: Step, at: Any) -> None:
        first.close()
        marks[at.step] = at.seconds
        progress(f"{run.method.name}: loss {step.loss:.3f}, step", at.step, total)

    with Peak() as peak, freed_memory_kept(), memory_named(run):
        model, work = working(run)
        with ExitStack() as first:  # until a step was made
            products = first.enter_context(Products())
            outcome = resumable(
                work,
                folder,
                run.digest,
                save_seconds=run.config.save_seconds,
                note=note,
                report=report,
                deadline=deadline,
            )
    result = _result(run, out, outcome, prediction, peak.bytes)
    result["probed_seconds"] = prediction.probed(marks)
    result["counted_flops"] = prediction.counted(
        min(marks, default=0), products.flops, result["steps"]
    )
    if outcome.stopped:
        return result
    if run.config.interpolate < 1:
        interpolate(run.method, work.parameters, work.start, run.config.interpolate)
    one_answer = collapsed(run, model, rows)
    result["collapse"] = None if one_answer is None else one_answer.as_json()
    with store.new_folder(folder / "result") as inside:
        run.write(model, inside)
        store.write_json(inside / RESULT, {"request": run.digest, **result})
    store.move(folder / "result", out)
    history.keep(result, run.placement.device, run.placement.dtype)
    return result


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
        "trained_parameters": run.trained_parameters,
        "trained_tokens": at.trained_tokens,
        "rows": {"used": run.rows_used(at.step), "set_aside": len(run.set_aside)},
        "loss": {"first": at.curve[0][2], "last": at.curve[-1][2]} if at.curve else None,
        "loss_unit": run.loss_unit,
        "seconds": at.seconds,
        "peak_bytes": peak,
        "predicted_peak_bytes": prediction.peak_bytes,
        "labels": None if run.task is None else list(run.task.labels),
        "forgetting": None,
        "collapse": None,
        "steps": at.step,
        "steps_total": len(run.steps),
        "curve": [{"step": s, "seconds": t, "loss": v} for s, t, v in at.curve],
        "settings": run.config.model_dump(mode="json"),
        "predicted_seconds": prediction.seconds,
        "predicted_flops": prediction.flops,
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
