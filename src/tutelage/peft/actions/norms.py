"""A model's tuned norms as PEFT's LN tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.peft.actions.selective import actions_of, put_values, values_of
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
from tutelage.peft.norms import KIND, Settings, selected

PART = "ln_tuning_layers."


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


ACTIONS = replace(actions_of(KIND, Settings, selected), write=write, read=read)
