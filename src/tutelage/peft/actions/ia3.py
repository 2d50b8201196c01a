"""(IA)3 on a model: linear maps with a trained gain of each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.nn.linear import Linear
from tutelage.peft._method import Actions
from tutelage.peft._wrapped import (
    Wrapped,
    attach_read,
    detach,
    frozen,
    merge,
    trainable,
    wrap,
    wrapped,
)
from tutelage.peft.ia3 import OF_INPUTS, Settings, targets
from tutelage.peft.layout import (
    Base,
    by_module,
    common_config,
    module_names,
    opened,
    other_shape,
    read_tensors,
    targets_config,
    tensor_name,
    write_adapter,
)

L = "ia3_l"


class Rescaled(Wrapped):
    """A frozen Linear whose outputs, or inputs, are rescaled."""

    base: Linear

    def __init__(self, base: Linear, of_inputs: bool) -> None:
        super().__init__(base)
        self.of_inputs = of_inputs
        self.ia3_l = trainable(base.shape[1 if of_inputs else 0], like=base.weight, fill=1.0)

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        gain = self.ia3_l.to(x.dtype)
        y: Tensor = self.base(x * gain) if self.of_inputs else self.base(x) * gain
        return y

    def merged(self) -> tuple[Tensor, Tensor | None]:
        weight, gain, bias = self.base.weight.float(), self.ia3_l.float(), self.base.bias
        if self.of_inputs:
            return weight * gain, None
        return weight * gain[:, None], None if bias is None else bias.float() * gain


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Wrap every Linear that is asked for; only l is trained, in float32."""
    wrap(model, targets(weights, settings), lambda one: Rescaled(one, one.role in OF_INPUTS))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, in float32."""
    names, tensors = module_names(checkpoint), {}
    sides: dict[bool, list[str]] = {True: [], False: []}
    for path, one in wrapped(model):
        assert isinstance(one, Rescaled)
        shape = (1, -1) if one.of_inputs else (-1, 1)
        tensors[tensor_name(names[path], L)] = one.ia3_l.view(shape)
        sides[one.of_inputs].append(path)
    inputs, outputs = (
        targets_config(paths, checkpoint)["target_modules"] if (paths := sides[side]) else []
        for side in (True, False)
    )
    config = {
        **common_config("IA3", checkpoint),
        **targets_config([*sides[True], *sides[False]], checkpoint),
        "target_modules": sorted({*inputs, *outputs}),  # PEFT asks that they hold the next
        "feedforward_modules": inputs,
        "init_ia3_weights": True,
    }
    del config["layers_to_transform"]  # PEFT's (IA)3 has no such setting; the names tell
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the adapter in `folder`, ours or PEFT's, frozen. What it rescales its shapes tell.
    Raises SourceError if it is none, was made on other weights, or does not fit."""
    base = Base.of(checkpoint, model)
    opened(folder, base, "IA3", {}, ("feedforward_modules", "init_ia3_weights"))

    def make(stem: str, linear: Linear, parts: Mapping[str, Tensor]) -> Rescaled:
        value, (rows, columns) = parts[L], linear.shape
        if tuple(value.shape) not in ((rows, 1), (1, columns)):
            got = f"l {list(value.shape)}"
            raise other_shape(folder, stem, got, f"l [{rows}, 1] or [1, {columns}]")
        one = Rescaled(linear, of_inputs=value.shape[0] == 1)
        one.ia3_l = frozen(value.flatten(), linear.weight)
        return one

    attach_read(model, checkpoint, folder, by_module(read_tensors(folder), (L,), folder), make)


ACTIONS = Actions(attach, write, read, merge, detach)
