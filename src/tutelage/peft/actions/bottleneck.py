"""Adapters put on a model, written, and read again, wherever they stand.

PEFT has no such adapters: the layout is ours, `adapter_down` and `adapter_up` under the name of the
linear map they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import SourceError
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.nn.activation import ACTIVATIONS
from tutelage.nn.linear import Linear
from tutelage.peft._bottleneck import Bottlenecks, Family
from tutelage.peft._method import Actions
from tutelage.peft._wrapped import Beside, Wrapped, detach, frozen, put, trainable
from tutelage.peft.layout import (
    CONFIG,
    Base,
    by_module,
    common_config,
    module_names,
    no_such_module,
    opened,
    other_shape,
    read_tensors,
    targets_config,
    tensor_name,
    write_adapter,
)

PARTS = {
    "adapter_down.weight": "down",
    "adapter_down.bias": "down_bias",
    "adapter_up.weight": "up",
    "adapter_up.bias": "up_bias",
}


class Bottleneck(nn.Module):
    """s a(x)"""

    def __init__(self, width: int, rank: int, activation: str, scale: float, like: Tensor) -> None:
        super().__init__()
        self.activation, self.scale = activation, scale
        self.down = trainable(rank, width, like=like)
        self.down_bias = trainable(rank, like=like)
        self.up = trainable(width, rank, like=like)
        self.up_bias = trainable(width, like=like)

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        narrow = nn.functional.linear(x, self.down.to(x.dtype), self.down_bias.to(x.dtype))
        up, bias = ((self.scale * part).to(x.dtype) for part in (self.up, self.up_bias))
        return nn.functional.linear(ACTIVATIONS[self.activation](narrow), up, bias)


class Behind(Wrapped):
    """y + s a(y) with y what a frozen Linear gives."""

    def __init__(self, base: Linear, adapter: Bottleneck) -> None:
        super().__init__(base)
        self.adapter = adapter

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        y: Tensor = self.base(x)
        more: Tensor = self.adapter(y)
        return y + more


class Around(Beside):
    """network(x) + s a(x) with a frozen network."""

    def __init__(self, base: nn.Module, adapter: Bottleneck) -> None:
        super().__init__(base)
        self.adapter = adapter

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        y: Tensor = self.base(x)
        more: Tensor = self.adapter(x)
        return y + more


def actions_of(family: Family) -> Actions:
    """Those of a family."""
    return Actions(
        partial(attach, family), partial(write, family), partial(read, family), detach=detach
    )


def attach(
    family: Family, model: Model, weights: Sequence[Weight], given: Bottlenecks, seed: int
) -> None:
    """Only adapters are trained, in float32."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weight in family.found(weights, given):
        width, rank = weight.shape[0], given.rank or 0
        like = model.get_parameter(weight.path)
        one = Bottleneck(width, rank, family.place.activation, family.scale(given), like)
        start = torch.rand(rank, width, generator=generator) * 2 - 1
        one.down.data.copy_(start / math.sqrt(width))
        _put(model, weight.path, one, family.place.around)


def write(
    family: Family, model: Model, checkpoint: Checkpoint, given: Bottlenecks, folder: Path
) -> None:
    names, tensors = module_names(checkpoint), {}
    weights = family.found(layout(checkpoint.config), given)
    paths = [weight.path.removesuffix(".weight") for weight in weights]
    for path in paths:
        one = _adapter(model, path, family.place.around)
        for part, attribute in PARTS.items():
            tensors[tensor_name(names[path], part)] = getattr(one, attribute)
    config = {
        **common_config(family.kind, checkpoint),
        "target_modules": targets_config(paths, checkpoint)["target_modules"],
        "r": given.rank,
        "scale": family.scale(given),
        "non_linearity": family.place.activation,
    }
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def read(family: Family, model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Raises SourceError if it is none, was made on other weights, or does not fit."""
    activation = family.place.activation
    base = Base.of(checkpoint, model)
    config = opened(folder, base, family.kind, {"non_linearity": (activation,)}, ("r", "scale"))
    factor = _scale(config, folder)
    paths = {stem: path for path, stem in module_names(checkpoint).items()}
    made: dict[str, Bottleneck] = {}
    for stem, parts in by_module(read_tensors(folder), tuple(PARTS), folder).items():
        path = paths.get(stem, "")
        linear = dict(model.named_modules()).get(path)
        if not isinstance(linear, Linear):
            raise no_such_module(folder, stem)
        made[path] = _filled(linear, parts, activation, factor, folder, stem)
    for path, one in made.items():
        _put(model, f"{path}.weight", one, family.place.around)


def _put(model: Model, weight: str, adapter: Bottleneck, around: bool) -> None:
    """Behind the Linear of this weight, or around the module it is a part of."""
    path = weight.removesuffix(".weight")
    linear = model.get_submodule(path)
    if around:
        parent = path.rpartition(".")[0]
        put(model, parent, Around(model.get_submodule(parent), adapter))
    else:
        assert isinstance(linear, Linear)
        put(model, path, Behind(linear, adapter))


def _adapter(model: Model, path: str, around: bool) -> Bottleneck:
    one: Any = model.get_submodule(path.rpartition(".")[0] if around else path)
    found: Bottleneck = one.adapter
    return found


def _scale(config: Mapping[str, Any], folder: Path) -> float:
    scale = config.get("scale")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale):
        raise SourceError(
            "the adapter's scale is no number", field=f"{folder / CONFIG}: scale", got=scale,
            expected="a number",
        )  # fmt: skip
    return float(scale)


def _filled(
    linear: Linear, parts: Mapping[str, Tensor], activation: str, scale: float, folder: Path,
    stem: str,
) -> Bottleneck:  # fmt: skip
    width = linear.shape[0]
    rank = parts["adapter_down.bias"].numel()
    one = Bottleneck(width, rank, activation, scale, linear.weight)
    for part, attribute in PARTS.items():
        expected = getattr(one, attribute).shape
        if parts[part].shape != expected:
            raise other_shape(
                folder, f"{stem}.{part}", str(list(parts[part].shape)), str(list(expected))
            )
        setattr(one, attribute, frozen(parts[part], linear.weight))
    return one
