"""Some of a model's own weights trained in their places, for all methods that do so.

A trained weight is a float32 master in the place of the frozen one, which is kept beside it, so
that `detach` gives it back bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.config import Frozen
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft._method import Actions
from tutelage.peft._selective import Selected, with_biases
from tutelage.peft.layout import (
    PREFIX,
    Base,
    common_config,
    no_such_module,
    opened,
    other_shape,
    read_tensors,
    write_adapter,
)

KEPT = "weights_before"
"""The attribute of a module in which its own weights wait, by name; None for one it had not."""


def actions_of(kind: str, settings: type[Frozen], selected: Selected) -> Actions:
    """Those of the method that trains the `selected` weights, in a layout of our own: the changed
    weights as files of the model have them."""

    def begin(model: Model, weights: Sequence[Weight], chosen: Any, seed: int) -> None:
        attach(model, selected(weights, chosen))

    def write(model: Model, checkpoint: Checkpoint, chosen: Any, folder: Path) -> None:
        base = Base.of(checkpoint, model)
        found = selected(layout(checkpoint.config), chosen)
        config = {**common_config(kind, checkpoint), **chosen.model_dump(mode="json")}
        values = values_of(model, found)
        write_adapter(folder, config, {PREFIX + hf: v for hf, v in values.items()}, base)

    def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
        """Put the changed weights in the model's own type in their places. Raises SourceError."""
        base = Base.of(checkpoint, model)
        opened(folder, base, kind, {}, tuple(settings.model_fields))
        put_values(model, checkpoint, folder, by_name(folder))

    return Actions(begin, write, read, merge, detach)


def attach(model: Model, weights: Sequence[Weight]) -> None:
    """Freeze the model but for masters of these weights."""
    model.requires_grad_(False)
    for weight in weights:
        before, like = _own(model, weight), next(_module(model, weight).parameters())
        start = torch.zeros(weight.shape, device=like.device) if before is None else before
        _replace(model, weight, nn.Parameter(start.detach().to(torch.float32, copy=True)))


def merge(model: Model) -> None:
    """The weights are in their places already: what was before is forgotten."""
    for module in model.modules():
        if hasattr(module, KEPT):
            delattr(module, KEPT)


def detach(model: Model) -> None:
    """Put what was before in its place."""
    for module in model.modules():
        for name, before in getattr(module, KEPT, {}).items():
            setattr(module, name, before)
    merge(model)


def by_name(folder: Path) -> dict[str, Tensor]:
    """Values by Hugging Face's own names. Raises SourceError, DamagedError."""
    tensors = read_tensors(folder)
    for name in tensors:
        if not name.startswith(PREFIX):
            raise no_such_module(folder, name)
    return {name.removeprefix(PREFIX): value for name, value in tensors.items()}


def put_values(
    model: Model, checkpoint: Checkpoint, folder: Path, values: dict[str, Tensor]
) -> None:
    """Put values in the places of weights, all or none, in the model's own type."""
    places = {weight.hf_name: weight for weight in with_biases(layout(checkpoint.config))}
    made: list[tuple[Weight, nn.Parameter]] = []
    for hf, value in values.items():
        if hf not in places:
            raise no_such_module(folder, hf)
        weight = places[hf]
        if tuple(value.shape) != weight.stored_shape:
            expected = str(list(weight.stored_shape))
            raise other_shape(folder, hf, str(list(value.shape)), expected)
        like = next(_module(model, weight).parameters())
        ours = (value.t() if weight.transposed else value).reshape(weight.shape)
        own = ours.to(like.device, like.dtype, copy=True).contiguous()
        made.append((weight, nn.Parameter(own, requires_grad=False)))
    for weight, parameter in made:
        _replace(model, weight, parameter)


def values_of(model: Model, weights: Sequence[Weight]) -> dict[str, Tensor]:
    """Values of these weights by Hugging Face's names, as files have them."""
    found = {}
    for weight in weights:
        value = _own(model, weight)
        assert value is not None, weight.path
        turned = value.t() if weight.transposed else value
        found[weight.hf_name] = turned.reshape(weight.stored_shape)
    return found


def _module(model: Model, weight: Weight) -> nn.Module:
    return model.get_submodule(weight.path.rpartition(".")[0])


def _own(model: Model, weight: Weight) -> nn.Parameter | None:
    found: nn.Parameter | None = getattr(_module(model, weight), weight.path.rpartition(".")[2])
    return found


def _replace(model: Model, weight: Weight, parameter: nn.Parameter) -> None:
    """Put the parameter in the weight's place, and keep what was there at first."""
    module, name = _module(model, weight), weight.path.rpartition(".")[2]
    if not hasattr(module, KEPT):
        setattr(module, KEPT, {})
    getattr(module, KEPT).setdefault(name, getattr(module, name))
    setattr(module, name, parameter)
