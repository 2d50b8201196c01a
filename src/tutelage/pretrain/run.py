"""A pretraining run: the whole of `tutelage pretrain`, killed at any moment and gone on with.

    text ──► tokenizer ──► token stores ──► steps ──► loop ──► model/  record.json  samples.jsonl
      └───── held-out documents ────────────────────────────► bits per byte by domain

How many steps a budget of minutes holds is measured once, before the first, and kept in plan.json:
a run that goes on makes the steps an undisturbed one would have made.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tutelage import store
from tutelage.checkpoints.build import build, hf_state
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.checkpoints.reading import Reading, trained_to_read
from tutelage.checkpoints.save import write_model
from tutelage.code_hash import code_hash
from tutelage.errors import ConfigError, RequestError
from tutelage.machine.device import DTYPES, Placement, resolve, use_threads
from tutelage.machine.memory import Peak, freed_memory_kept
from tutelage.models.forward import Model
from tutelage.models.spec import is_linear, layout, shape
from tutelage.objectives import clm
from tutelage.pretrain import compute, size
from tutelage.pretrain.baselines import baselines
from tutelage.pretrain.bits import bits_per_byte
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.foretell import Parts, foretell
from tutelage.pretrain.held_out import held_out_loss
from tutelage.pretrain.makers import Maker, maker, objective_of
from tutelage.pretrain.material import Material, prepare
from tutelage.pretrain.record import described, of_store, told
from tutelage.pretrain.rows import StepRows
from tutelage.pretrain.samples import Samples
from tutelage.progress import Progress, silent
from tutelage.train import history
from tutelage.train.loop import Plan, Step, train
from tutelage.train.optimizer import pretraining
from tutelage.train.predict import Prediction
from tutelage.train.resumable import Deadline, Work, resumable
from tutelage.train.scaling import LossScale
from tutelage.train.schedule import Schedule
from tutelage.train.state import discard, of_another

Json = dict[str, Any]
RECORD = "record.json"
PLAN = "plan.json"
SAMPLES = "samples.jsonl"
STATE = "state"
MODEL = "model"
TRIED = 6
"""Steps whose speed says how many fit into the minutes; the first of them is not counted."""


@dataclass(frozen=True)
class Run:
    """Everything a run follows from, resolved."""

    config: PretrainConfig
    material: Material
    checkpoint: Checkpoint
    context: int
    placement: Placement
    threads: int

    @property
    def digest(self) -> str:
        """Ties checkpoints to the inputs and, after a colon, to the code that made them."""
        inputs = {
            "config": self.config.model_dump(mode="json", exclude={"training": {"save_seconds"}}),
            "base": self.checkpoint.fingerprint,
            "stores": {name: one.fingerprint for name, one in self.material.stores.items()},
            "dtype": self.placement.dtype,
            "device": self.placement.device,
            "threads": self.threads,
        }
        code = {"torch": torch.__version__, "code": code_hash(__name__)}
        return f"{store.digest(inputs)}:{store.digest(code)}"

    @cached_property
    def maker(self) -> Maker:
        """What the objective makes of a window."""
        config = self.checkpoint.config
        name = objective_of(config, self.config.training.objective)
        return maker(name, self.material.tokenizer, config, self.context, self.config.seed)

    @property
    def step_rows(self) -> StepRows:
        return StepRows(
            self.material.stores, self.config.data.weights, self.maker, self.rows, self.config.seed
        )

    @cached_property
    def flops(self) -> int:
        """Of one update, by the rows of the first."""
        config = self.checkpoint.config
        weights, sizes = layout(config), shape(config)
        return sum(compute.flops_of(weights, sizes, row) for row in self.step_rows[0])

    @property
    def rows(self) -> int:
        """Windows of one update."""
        return max(1, self.config.training.batch_tokens // self.context)


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

    Raises ConfigError for a shape or setting that cannot be, DataError for text that cannot be
    read, GuardError where training would break, BusyError if another process is at it.
    """
    placement = resolve(device, _dtype(config, dtype), exact)
    count = use_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    with store.lock(out):
        store.sweep(out)
        material = prepare(config, out, progress)
        _check_baselines(config, material)
        prefix = config.training.objective == "prefix"
        checkpoint = trained_to_read(_start(config, material), both=prefix)
        context = _context(config, checkpoint)
        run = Run(config, material, checkpoint, context, placement, count)
        done = _finished(run, out)
        result = done if done is not None else _made(run, out, progress, note, deadline)
        if result["status"] == "done":
            discard(out / STATE)
        return result


def _dtype(config: PretrainConfig, asked: str) -> str:
    """As asked for beside the file, or as the file says."""
    said = config.training.dtype
    if asked != "auto" and said not in ("auto", asked):
        raise ConfigError(
            f"the file says {said}", field="--dtype", got=asked,
            hint="leave it out, or change training.dtype",
        )  # fmt: skip
    return said if asked == "auto" else asked


def _start(config: PretrainConfig, material: Material) -> Checkpoint:
    """Random weights of the shape asked for, or the model to go on from."""
    model = config.model
    named = [name for name in ("depth", "preset", "start") if getattr(model, name) is not None]
    if len(named) != 1:
        raise ConfigError(
            "one of depth, preset and start says what is trained",
            field="model",
            got=", ".join(named) or "none",
        )
    if model.width is not None and model.depth is None:
        raise ConfigError(
            "a width goes with a depth", field="model.width", got=model.width, hint="say depth too"
        )
    if model.start is not None:
        return open_checkpoint(model.start, seed=config.seed)
    vocabulary = material.tokenizer.vocabulary
    if model.preset is not None:
        made = size.preset(model.preset, vocabulary, model.context)
    else:
        assert model.depth is not None
        made = size.sized(
            model.depth, model.architecture, vocabulary, model.context or 512, model.width
        )
    return random_checkpoint(config.name, made, material.tokenizer, config.seed, {"shape": made})


def _context(config: PretrainConfig, checkpoint: Checkpoint) -> int:
    longest = shape(checkpoint.config).context
    context = config.model.context or longest or 512
    if longest is not None and context > longest:
        raise ConfigError(
            "longer than the model's context", field="model.context", got=context,
            expected=f"at most {longest}",
        )  # fmt: skip
    return context


def _check_baselines(config: PretrainConfig, material: Material) -> None:
    if config.data.baselines and len(material.sources) < len(config.data.train):
        raise ConfigError(
            "compressors need the training text, which token stores do not hold",
            field="data.baselines",
            got=", ".join(name for name in config.data.train if name not in material.sources),
            hint="name the text itself in data.train",
        )


def _finished(run: Run, out: Path) -> Json | None:
    """The record of an identical finished run. Raises RequestError if `out` holds another,
    DamagedError if its model is not what was written."""
    if not (out / RECORD).is_file():
        return None
    known: Any = store.read_json(out / RECORD)
    if isinstance(known, dict) and known.get("request") == run.digest:
        store.verify(out / MODEL)
        return known
    raise RequestError(
        f"{out} holds another run", field="--out", hint="remove it, or choose another folder"
    )


def _made(
    run: Run, out: Path, progress: Progress, note: Callable[[str], None], deadline: Deadline | None
) -> Json:
    steps = _steps(run, out)
    parts = Parts(_micro_batches(run), run.config.training.checkpointing)
    prediction = foretell(
        run.checkpoint, run.step_rows[0], parts, run.config.training.optimizer,
        run.placement, run.threads, steps,
    )  # fmt: skip
    model = _model(run)
    reading = Reading.of(run.checkpoint)
    samples = Samples(run.config.training.samples, reading, out / SAMPLES)
    with Peak() as peak, freed_memory_kept():
        peaks = [compute.peak(run.placement)]
        work = _work(run, model, steps)
        total = work.plan.schedule.total
        speeds: list[float] = []
        marks: dict[int, float] = {}

        def report(step: Step, at: Any) -> None:
            speeds.append(at.seconds)
            marks[at.step] = at.seconds
            progress(f"loss {step.loss:.3f}, step", at.step, total)
            samples.at(model, at.step, total)

        outcome = resumable(
            work, out / STATE, run.digest, save_seconds=run.config.training.save_seconds,
            note=note, report=report, deadline=deadline,
        )  # fmt: skip
        peaks.append(compute.peak(run.placement))
    record = {
        "out": str(out),
        "request": run.digest,
        **told(run.checkpoint, work, outcome, speeds, peaks, run.flops),
        "peak_bytes": peak.bytes,
        **_foretold(prediction, marks),
        "config": run.config.model_dump(mode="json"),
        "model_folder": str(out / MODEL),
    }
    if outcome.stopped:
        return record
    record |= _measured(run, model) | {
        "data": {name: of_store(one) for name, one in run.material.stores.items()},
        "samples": samples.said(),
        "machine": described(run.placement, run.threads),
    }
    with store.new_folder(out / MODEL) as folder:
        write_model(hf_state(model, run.checkpoint), run.checkpoint, folder, dtype="float32")
    store.write_json(out / RECORD, record)
    if prediction is not None:
        told_of = {
            "method": "pretrain", "base": {"source": run.checkpoint.source},
            "settings": record["config"]["training"], **record,
        }  # fmt: skip
        history.keep(told_of, run.placement.device, run.placement.dtype, prediction.flops)
    return record


def _foretold(prediction: Prediction | None, marks: Mapping[int, float]) -> Json:
    """What the run was predicted to take; nulls where nothing was."""
    if prediction is None:
        names = ("predicted_peak_bytes", "predicted_memory", "predicted_seconds", "probed_seconds")
        return dict.fromkeys(names)
    return {
        "predicted_peak_bytes": prediction.peak_bytes,
        "predicted_memory": prediction.memory,
        "predicted_seconds": prediction.seconds,
        "probed_seconds": prediction.probed(marks),
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


def _model(run: Run) -> Model:
    """The start with float32 masters of all weights, computing in the type asked for."""
    model: Model = build(run.checkpoint, "fp32", run.placement.device)
    model.compute = DTYPES[run.placement.dtype]
    model.requires_grad_(True).train()
    model.checkpointing = run.config.training.checkpointing
    return model


def _work(run: Run, model: Model, total: int) -> Work:
    training = run.config.training
    parameters = dict(model.named_parameters())
    inside = {weight.path for weight in layout(run.checkpoint.config) if is_linear(weight)}
    muon = inside if training.optimizer == "muon" else set()
    rate = training.learning_rate
    schedule = Schedule(
        total, rate, max(1, round(training.warmup * total)), training.schedule, training.floor,
        training.decay,
    )  # fmt: skip
    plan = Plan(schedule, training.clip, micro_batches=_micro_batches(run))
    scaled = run.placement.dtype == "fp16"
    return Work(
        model,
        parameters,
        pretraining(parameters, rate, muon=muon, decay=training.weight_decay),
        run.step_rows,
        functools.partial(clm.loss, z=training.z_loss),
        plan,
        scale=LossScale(training.loss_scale.start, training.loss_scale.steps) if scaled else None,
    )


def _micro_batches(run: Run) -> int:
    return max(1, -(-run.rows * run.context // run.config.training.micro_tokens))


def _steps(run: Run, out: Path) -> int:
    """How many steps the run has, decided once. Raises RequestError where it was decided for
    another request whose checkpoints are there: they are of no use without it."""
    file, state = out / PLAN, out / STATE
    if file.is_file():
        known: Any = store.read_json(file)
        if known.get("request") == run.digest:
            return int(known["steps"])
        if any(state.glob("step-*")):
            raise of_another(state, known.get("request"), run.digest)
    training = run.config.training
    if training.steps is not None:
        steps = training.steps
    elif training.tokens is not None:
        steps = max(1, round(training.tokens / (run.rows * run.maker.window)))
    elif training.flops is not None:
        steps = max(1, round(training.flops / run.flops))
    elif training.processor_minutes is not None:
        seconds = _seconds_of_a_step(run, time.process_time)
        steps = max(1, int(training.processor_minutes * 60 / seconds))
    else:
        assert training.minutes is not None
        steps = max(1, int(training.minutes * 60 / _seconds_of_a_step(run, time.monotonic)))
    (out / SAMPLES).unlink(missing_ok=True)  # another request's
    store.write_json(file, {"request": run.digest, "steps": steps})
    return steps


def _seconds_of_a_step(run: Run, clock: Callable[[], float]) -> float:
    """Median of a few steps of a model that is then thrown away."""
    model = _model(run)
    work = _work(run, model, TRIED)
    marks = [clock()]
    for _ in train(
        model, work.parameters, work.optimizer, work.steps, work.loss, work.plan, scale=work.scale
    ):
        marks.append(clock())
    seconds = [b - a for a, b in itertools.pairwise(marks[1:])]
    return statistics.median(seconds or [marks[1] - marks[0]])
