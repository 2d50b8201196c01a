"""What a pretraining run follows from: file, text and machine, resolved into a start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.checkpoints.reading import trained_to_read
from tutelage.checkpoints.source import parse
from tutelage.errors import ConfigError
from tutelage.machine.device import Placement, resolve, use_threads
from tutelage.models.catalogue import layout, shape
from tutelage.pretrain import compute, size
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.makers import Maker, maker, objective_of
from tutelage.pretrain.material import Material
from tutelage.pretrain.rows import StepRows
from tutelage.train import kept

Json = dict[str, Any]
OPTIMIZER = "optimizer"
"""Beside a run's model: what its optimizer remembers."""


@dataclass(frozen=True)
class Run:
    """Everything a run follows from, resolved."""

    config: PretrainConfig
    material: Material
    checkpoint: Checkpoint
    context: int
    placement: Placement
    threads: int
    remembered: tuple[Path, str] | None = None
    """Where what a warm restart begins with lies, and its digest."""

    @property
    def inputs(self) -> Json:
        """What ties checkpoints to this run, but for the code that makes them."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"training": {"save_seconds"}}),
            "base": self.checkpoint.fingerprint,
            "stores": {name: one.fingerprint for name, one in self.material.stores.items()},
            "dtype": self.placement.dtype,
            "device": self.placement.device,
            "threads": self.threads,
            "optimizer": None if self.remembered is None else self.remembered[1],
        }

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
        return self.config.training.batch_tokens // self.context

    @property
    def micro_batches(self) -> int:
        """Parts of one update, each of at most so many tokens as the file says."""
        return max(1, -(-self.rows * self.context // self.config.training.micro_tokens))


def placed(
    config: PretrainConfig, device: str, dtype: str, exact: bool, threads: int | None
) -> tuple[Placement, int]:
    """Where the run computes, and with how many threads."""
    return resolve(device, _dtype(config, dtype), exact), use_threads(threads)


def remembered(config: PretrainConfig) -> tuple[Path, str] | None:
    """What the optimizer of the run in model.start remembered, where the file asks for it: its
    folder and digest. Raises ConfigError where there is none, DamagedError for a damaged one."""
    start, field = config.model.start, "training.warm_restart"
    if not config.training.warm_restart:
        return None
    found = None if start is None else parse(start)
    if found is None or found.path is None or found.kind not in ("folder", "run"):
        raise ConfigError(
            "there is no run whose optimizer could go on", field=field,
            got=f"model.start = {start}", expected="the folder of a finished pretraining run",
        )  # fmt: skip
    folder = found.path.parent / OPTIMIZER
    return folder, kept.check(folder, found.path, config.training.optimizer, field)


def resolved(
    config: PretrainConfig, material: Material, where: tuple[Placement, int],
    before: tuple[Path, str] | None,
) -> Run:  # fmt: skip
    """The run with its start, and what its optimizer begins with. Raises ConfigError for a shape or
    setting that cannot be."""
    _check_baselines(config, material)
    prefix = config.training.objective == "prefix"
    checkpoint = trained_to_read(_start(config, material), both=prefix)
    return Run(config, material, checkpoint, _context(config, checkpoint), *where, before)


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
    if config.training.batch_tokens < context:
        raise ConfigError(
            "an update is less than one row", field="training.batch_tokens",
            got=config.training.batch_tokens, expected=f"at least {context}, the length of a row",
            hint="or a shorter model.context",
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
