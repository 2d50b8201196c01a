"""Norms alone are trained: their gains, and their shifts where they have any.

    y = g * normalized(x) + b

Trained parameters: their widths, once or twice. Written as PEFT's LN tuning.
Source: Zhao et al. 2024, arXiv:2312.11420, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.config import Frozen
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.peft._selective import put_values, selective, some, values_of
from tutelage.peft.layout import (
    Base,
    by_module,
    common_config,
    opened,
    read_tensors,
    targets_config,
    tensor_name,
    write_adapter,
)

KIND = "LN_TUNING"
PART = "ln_tuning_layers."


class Settings(Frozen):
    """There are none."""


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    some(selected(weights, settings), "norm")
    return settings


def selected(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The gains and shifts."""
    return [weight for weight in weights if weight.role == "norm"]


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, in float32."""
    found = selected(layout(checkpoint.config), settings)
    tensors: dict[str, Tensor] = {}
    for hf, value in values_of(model, found).items():
        module, _, name = hf.rpartition(".")
        tensors[tensor_name(module, PART + name)] = value
    paths = [w.path.removesuffix(".weight") for w in found if w.path.endswith(".weight")]
    names = targets_config(paths, checkpoint)["target_modules"]
    config = {**common_config(KIND, checkpoint), "target_modules": names}
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Put the norms of the adapter in `folder`, ours or PEFT's, in their places. Raises SourceError
    if it is none, was made on other weights, or does not fit."""
    opened(folder, Base.of(checkpoint, model), KIND, {}, ())
    parts = (PART + "weight", PART + "bias")
    modules = by_module(read_tensors(folder), parts[:1], folder, optional=parts[1:])
    values = {
        f"{stem}.{part.removeprefix(PART)}": value
        for stem, found in modules.items()
        for part, value in found.items()
    }
    put_values(model, checkpoint, folder, values)


METHOD = replace(
    selective("norms", Settings, 2e-3, resolve, selected),
    peft_type=KIND,
    theirs=True,
    write=write,
    read=read,
)
