"""A pretraining run: the whole of `tutelage pretrain`, killed at any moment and gone on with.

    text ──► tokenizer ──► token stores ──► steps ──► loop ──► model/  record.json  samples.jsonl
      └───── held-out documents ────────────────────────────► bits per byte by domain

How many steps a budget of minutes holds is measured once, before the first, and kept in plan.json:
a run that goes on makes the steps an undisturbed one would have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from tutelage import store
from tutelage.checkpoints.build import hf_state
from tutelage.checkpoints.reading import Reading
from tutelage.checkpoints.save import write_model
from tutelage.code_hash import code_hash
from tutelage.errors import RequestError
from tutelage.machine import describe
from tutelage.machine.memory import Peak, freed_memory_kept
from tutelage.machine.products import Products
from tutelage.models.forward import Model
from tutelage.pretrain import compute
from tutelage.pretrain.baselines import baselines
from tutelage.pretrain.bits import bits_per_byte
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.foretell import Parts, foretell
from tutelage.pretrain.held_out import held_out_loss
from tutelage.pretrain.material import prepare
from tutelage.pretrain.record import of_store, told
from tutelage.pretrain.request import OPTIMIZER, Run, placed, remembered, resolved
from tutelage.pretrain.samples import Samples
from tutelage.pretrain.work import model_of, steps_of, work_of
from tutelage.progress import Progress, silent
from tutelage.train import history, kept
from tutelage.train.loop import Step
from tutelage.train.predict import Prediction
from tutelage.train.resumable import Deadline, resumable
from tutelage.train.state import discard, of_another

Json = dict[str, Any]
RECORD = "record.json"
PLAN = "plan.json"
SAMPLES = "samples.jsonl"
STATE = "state"
MODEL = "model"
FORETOLD = (
    *("predicted_peak_bytes", "predicted_memory", "predicted_seconds", "probed_seconds"),
    *("predicted_flops", "counted_flops"),
)


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
    deadline: Deadline | None = None,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
) -> Json:
    """Train and write `out`; what is done already is not done again. Returns the record.

    Raises ConfigError for a shape or setting that cannot be, RequestError for a folder that cannot,
    DataError for text that cannot be read, GuardError where training would break, BusyError if
    another process is at it.
    """
    where = placed(config, device, dtype, exact, threads)
    before = remembered(config)
    _make(out)
    with store.lock(out):
        store.sweep(out)
        run = resolved(config, prepare(config, out, progress), where, before)
        done = _finished(run, out)
        result = done if done is not None else _made(run, out, progress, note, deadline)
        if result["status"] == "done":
            discard(out / STATE)
        return result


def _digest(run: Run) -> str:
    """Ties checkpoints to the inputs and, after a colon, to the code that made them."""
    code = {"torch": torch.__version__, "code": code_hash(__name__)}
    return f"{store.digest(run.inputs)}:{store.digest(code)}"


def _make(out: Path) -> None:
    """The run's folder, where nothing else stands in its place."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"{out} cannot be a folder: {error.strerror}",
            field="--out",
            got=out,
            expected="a folder of a run, or a place where one can be made",
        ) from error


def _finished(run: Run, out: Path) -> Json | None:
    """The record of an identical finished run. Raises RequestError if `out` holds another,
    DamagedError if its model is not what was written."""
    if not (out / RECORD).is_file():
        return None
    known: Any = store.read_json(out / RECORD)
    if isinstance(known, dict) and known.get("request") == _digest(run):
        store.verify(out / MODEL)
        return known
    raise RequestError(
        f"{out} holds another run", field="--out", hint="remove it, or choose another folder"
    )


def _made(
    run: Run, out: Path, progress: Progress, note: Callable[[str], None], deadline: Deadline | None
) -> Json:
    digest = _digest(run)
    steps = _steps(run, digest, out)
    parts = Parts(run.micro_batches, run.config.training.checkpointing)
    prediction = foretell(
        run.checkpoint, run.step_rows[0], parts, run.config.training.optimizer,
        run.placement, run.threads, steps,
    )  # fmt: skip
    model = model_of(run)
    reading = Reading.of(run.checkpoint)
    samples = Samples(run.config.training.samples, reading, out / SAMPLES)
    with Peak() as peak, freed_memory_kept():
        peaks = [compute.peak(run.placement)]
        work = work_of(run, model, steps)
        total = work.plan.schedule.total
        speeds: list[float] = []
        marks: dict[int, float] = {}

        def report(step: Step, at: Any) -> None:
            first.close()
            speeds.append(at.seconds)
            marks[at.step] = at.seconds
            progress(f"loss {step.loss:.3f}, step", at.step, total)
            samples.at(model, at.step, total)

        with ExitStack() as first:  # until a step was made
            products = first.enter_context(Products())
            outcome = resumable(
                work, out / STATE, digest, save_seconds=run.config.training.save_seconds,
                note=note, report=report, deadline=deadline,
            )  # fmt: skip
        peaks.append(compute.peak(run.placement))
    record = {
        "out": str(out),
        "request": digest,
        **told(run.checkpoint, work, outcome, speeds, peaks, run.flops),
        "peak_bytes": peak.bytes,
        **_foretold(prediction, marks, products.flops),
        "config": run.config.model_dump(mode="json"),
        "model_folder": str(out / MODEL),
    }
    if outcome.stopped:
        return record
    record |= _measured(run, model) | {
        "data": {name: of_store(one) for name, one in run.material.stores.items()},
        "samples": samples.said(),
        "machine": describe.described(
            {"device": run.placement.device, "dtype": run.placement.dtype, "threads": run.threads}
        ),
    }
    with store.new_folder(out / MODEL) as folder:
        write_model(hf_state(model, run.checkpoint), run.checkpoint, folder, dtype="float32")
    kind = run.config.training.optimizer
    kept.keep(out / OPTIMIZER, out / MODEL, kind, work.parameters, work.optimizer)
    store.write_json(out / RECORD, record)
    if prediction is not None:
        _remember(run, record)
    return record


def _remember(run: Run, record: Json) -> None:
    """What was predicted and what was measured, for the predictions to come."""
    told_of = {
        "method": "pretrain", "base": {"source": run.checkpoint.source},
        "settings": record["config"]["training"], **record,
    }  # fmt: skip
    history.keep(told_of, run.placement.device, run.placement.dtype)


def _steps(run: Run, digest: str, out: Path) -> int:
    """How many steps the run has, decided once. Raises RequestError where it was decided for
    another request whose checkpoints are there: they are of no use without it."""
    file, state = out / PLAN, out / STATE
    if file.is_file():
        known: Any = store.read_json(file)
        if known.get("request") == digest:
            return int(known["steps"])
        if any(state.glob("step-*")):
            raise of_another(state, known.get("request"), digest)
    steps = steps_of(run)
    (out / SAMPLES).unlink(missing_ok=True)  # another request's
    store.write_json(file, {"request": digest, "steps": steps})
    return steps


def _foretold(prediction: Prediction | None, marks: Mapping[int, float], flops: int) -> Json:
    """What the run was predicted to take; nulls where nothing was."""
    if prediction is None:
        return dict.fromkeys(FORETOLD)
    return {
        "predicted_peak_bytes": prediction.peak_bytes,
        "predicted_memory": prediction.memory,
        "predicted_seconds": prediction.seconds,
        "probed_seconds": prediction.probed(marks),
        "predicted_flops": prediction.flops,
        "counted_flops": prediction.counted(min(marks, default=0), flops, max(marks, default=0)),
    }


def _measured(run: Run, model: Model) -> Json:
    """Bits per byte of each held-out text, or the objective's own loss."""
    material, causal = run.material, run.maker.name == "clm"
    plain = run.config.data.baselines
    found: dict[str, Any] = {}
    for name, texts in material.held_out.items():
        if causal:
            found[name] = bits_per_byte(model, material.tokenizer, material.end, texts, run.context)
        else:
            found[name] = held_out_loss(model, material.tokenizer, material.end, texts, run.maker)
    others = {
        name: baselines(material.training_texts(), texts, material.tokenizer)
        for name, texts in material.held_out.items()
        if plain
    }
    return {
        "bits_per_byte": found if causal else {},
        "held_out_loss": {} if causal else found,
        "baselines": others,
    }
