"""A tuning request resolved, before anything is built: rows to steps, settings, what it will take.

Knows nothing of checkpoints or of results; `tune.py` and `rehearsal.py` do the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import Task, task_of, with_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.program import program_of
from tutelage.checkpoints.reading import Reading, Virtual
from tutelage.code_hash import code_hash
from tutelage.data.pack import Example
from tutelage.data.rows import Row
from tutelage.errors import ConfigError, DataError, RequestError
from tutelage.heads import HEADS
from tutelage.heads import examples as head_examples
from tutelage.heads.coder import Coder
from tutelage.machine.device import Placement, resolve, use_threads
from tutelage.machine.memory import is_exhausted
from tutelage.models.catalogue import layout, shape, spec_for
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.objectives import clm
from tutelage.peft import METHODS, _head, _new_rows
from tutelage.peft._method import Method, settings_of
from tutelage.peft._tokens import token_table
from tutelage.plan.memory import Tuning
from tutelage.tokenizers.added import new_id, with_tokens
from tutelage.train import fit, start
from tutelage.train.config import BATCH_TOKENS, NATS, TuneConfig, refuse_fp16
from tutelage.train.examples import examples_of, schedule
from tutelage.train.loop import Loss, Plan
from tutelage.train.optimizer import adamw
from tutelage.train.predict import Prediction, predict_run
from tutelage.train.resumable import Work
from tutelage.train.schedule import Schedule

CODE = "tutelage.train.tune"
"""What results follow from besides their inputs: this module, and all it imports."""


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
    def task(self) -> Task | None:
        """The head that is trained, if the model has one."""
        return task_of(self.checkpoint)

    @property
    def layout(self) -> str:
        """Whose form what is written has: `model` a Hugging Face folder, `peft`, or `own`."""
        if not self.method.adapter:
            return "model"
        return "peft" if self.method.theirs else "own"

    @property
    def new_ids(self) -> list[int]:
        """Of the tokens that are new."""
        return [new_id(self.checkpoint.tokenizer, token) for token in self.config.new_tokens]

    @property
    def trained_parameters(self) -> int:
        return self.method.count(self.weights, self.settings) + self._new_numbers + self._of_head

    @property
    def tuning(self) -> Tuning:
        """What memory and time follow from."""
        found = self.method.cost(self.weights, self.settings)
        if self.keeps_start:
            found = replace(found, optimizer_bytes=found.optimizer_bytes + start.BYTES)
        if not self._new_numbers:
            return replace(found, trained=found.trained + self._of_head)
        return replace(found, trained=self.trained_parameters, head=True)

    @property
    def keeps_start(self) -> bool:
        """Whether what was before training is needed during it or after it."""
        return self.config.pull > 0 or self.config.interpolate < 1

    @property
    def _new_numbers(self) -> int:
        own = self.method.own(self.settings, self.weights)
        return _new_rows.count(self.weights, own, len(self.config.new_tokens))

    @property
    def _of_head(self) -> int:
        """Numbers of a task's head that the method does not count itself."""
        return _head.count(self.weights, self.method.own(self.settings, self.weights))

    def examples_of(self, rows: Sequence[Row]) -> list[Example]:
        """Those of other rows that can be used, as the tuned model reads them."""
        return _examples(self.checkpoint, self.virtual, rows, strict=False)[0]

    @property
    def virtual(self) -> Virtual:
        """What the tuned model has before every row."""
        return _virtual(self.method, self.settings, self.weights)

    @property
    def loss(self) -> Loss:
        """What is made small: the head's own, or that of the answers' tokens."""
        return clm.loss if self.task is None else HEADS.get(self.task.head).loss

    @property
    def loss_unit(self) -> str:
        return NATS if self.task is None else HEADS.get(self.task.head).unit

    def write(self, model: Model, folder: Path) -> None:
        """What was trained."""
        self.method.write(model, self.checkpoint, self.settings, folder)
        if self.config.new_tokens and self.method.adapter:
            _new_rows.add(model, self.checkpoint, self.config.new_tokens, self.new_ids, folder)
        if self.task is not None and self.method.adapter:
            _head.add(model, self.checkpoint, folder)

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
                [e.ids, e.at, e.labels, e.weight, e.memory, e.lead, [b.ids for b in e.beside]]
                for e in self.examples
            ],
            "dtype": self.placement.dtype,
            "device": self.placement.device,
            "threads": self.threads,
        }
        code = {"torch": torch.__version__, "code": code_hash(CODE)}
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
    checkpoint = with_tokens(open_checkpoint(source, seed=config.seed), config.new_tokens)
    bare = task_of(checkpoint) is None
    checkpoint = _with_head(checkpoint, rows, config)
    method: Method = METHODS.get(config.method, field="--method")
    weights = layout(checkpoint.config)
    settings = settled(method, config.options, checkpoint)
    start.refuse_interpolation(method, config.interpolate)
    task = task_of(checkpoint)
    virtual = _virtual(method, settings, weights)
    examples, set_aside = _examples(checkpoint, virtual, rows, strict)
    if not examples:
        raise _none_usable(len(rows), set_aside)
    config = _with_size(config, task)
    steps = schedule(examples, config)
    rate = config.learning_rate or method.rate(headed=task is not None)
    resolved = config.model_copy(
        update={
            "options": settings.model_dump(),
            "learning_rate": rate,
            "steps": len(steps),
            "head": None if task is None else task.head,
            "head_rate": None if task is None else _head.rate_of(config.head_rate, rate, bare),
        }
    )
    return Run(
        checkpoint, method, resolved, settings, placement, use_threads(threads), weights,
        examples, steps, set_aside,
    )  # fmt: skip


def settled(method: Method, options: Mapping[str, Any], checkpoint: Checkpoint) -> Any:
    """The method's settings for this model. Raises what `settings_of` and `resolve` raise."""
    given = method.worded(settings_of(method, options), checkpoint.tokenizer.encode_plain)
    return method.resolve(given, layout(checkpoint.config), shape(checkpoint.config))


def _examples(
    checkpoint: Checkpoint, virtual: Virtual, rows: Sequence[Row], strict: bool
) -> tuple[list[Example], list[dict[str, str]]]:
    """Of all usable rows, and which were set aside: what a head learns, or answers in words."""
    task = task_of(checkpoint)
    if task is None:
        return examples_of(rows, Reading.of(checkpoint).behind(virtual), strict=strict)
    coder = Coder.of(checkpoint, virtual)
    return head_examples.examples_of(rows, coder, task, strict=strict)


def _with_size(config: TuneConfig, task: Task | None) -> TuneConfig:
    """With the tokens of an update."""
    if config.batch_tokens is not None:
        return config
    tokens = None if task is None else HEADS.get(task.head).batch_tokens
    return config.model_copy(update={"batch_tokens": tokens or BATCH_TOKENS})


def _virtual(method: Method, settings: Any, weights: Sequence[Weight]) -> Virtual:
    """Ids beyond the vocabulary, as many as the method has."""
    first = token_table(weights).shape[0]
    return Virtual(tuple(range(first, first + method.virtual(settings))), method.deep)


def _with_head(checkpoint: Checkpoint, rows: Sequence[Row], config: TuneConfig) -> Checkpoint:
    """With the head that is asked for. Raises UnknownName, ConfigError for a model with another,
    and RequestError for an encoder without any."""
    there = task_of(checkpoint)
    if there is not None and config.head in (None, there.head):
        return checkpoint  # its labels hold: rows with others are set aside
    if config.head is None:
        _refuse_encoder(checkpoint)
        _refuse_rate(config)
        return checkpoint
    if there is not None:
        raise ConfigError(
            "the model has another head already", field="--head", got=config.head,
            expected=there.head, hint="name the model that it was put on",
        )  # fmt: skip
    return with_head(checkpoint, head_examples.task_for(config.head, rows), config.seed)


def predict(run: Run) -> Prediction:
    """What the run will take, before anything is built."""
    return predict_run(
        run.weights, run.tuning, run.config, run.steps,
        run.placement, shape(run.checkpoint.config).heads, run.threads,
    )  # fmt: skip


def working(run: Run) -> tuple[Model, Work]:
    """The model with the method attached, and all that the loop needs."""
    form = run.method.form(run.settings)
    model: Model = build(run.checkpoint, run.placement.dtype, run.placement.device, form)
    model.train()
    run.method.attach(model, run.weights, run.settings, run.config.seed)
    methods = _learning(model)
    _new_rows.attach(model, run.new_ids)
    _head.attach(model, run.weights)
    model.checkpointing = run.config.checkpointing
    parameters = _learning(model)
    rate, total = run.config.learning_rate, len(run.steps)
    assert rate is not None
    seed, parts = run.config.seed, run.config.micro_batches
    heads = {weight.path for weight in _head.trained(run.weights)} & parameters.keys()
    both = {"the method": (methods.keys() & parameters.keys()) - heads, "the head": heads}
    plan = Plan(Schedule.tuning(total, rate), micro_batches=parts, seed=seed, parts=both)
    own = run.method.paces(run.settings, run.weights)
    paces = {name: (pace.scale, pace.start) for name, pace in own.items()}
    if run.config.head_rate is not None:
        paces |= _head.paces(run.weights, run.config.head_rate / rate)
    optimizer = adamw(parameters, rate, paces)
    before = start.kept(parameters) if run.keeps_start else {}
    optimizer = start.pulled(optimizer, parameters, before, run.config.pull)
    return model, Work(model, parameters, optimizer, run.steps, run.loss, plan, before)


def _learning(model: Model) -> dict[str, nn.Parameter]:
    """The parameters that are trained, as the model stands."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _refuse_rate(config: TuneConfig) -> None:
    if config.head_rate is not None:
        raise ConfigError(
            "there is no head that could learn at a rate of its own", field="--head-rate",
            got=config.head_rate, expected="a model with a head, or --head",
        )  # fmt: skip


@contextmanager
def memory_named(run: Run) -> Iterator[None]:
    """Within the block running out of memory is a MemoryLimitError that names a setting that would
    fit, or says that none would."""
    room = fit.room(run.placement.device)
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_exhausted(error):
            raise
        raise fit.too_large(error, run.config, lambda c: _needed(run, c), room) from error


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
            hint="with --head it learns labels, tags, choices or spans",
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
