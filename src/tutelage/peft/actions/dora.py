"""DoRA on a model: LoRA's update, and the length of every row beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.nn.linear import Linear
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._low_rank_file import ANY_VALUE, HONOURED, A, B, filled, tensors_of
from tutelage.peft._wrapped import attach_read, frozen, wrapped
from tutelage.peft.actions import lora as lora_actions
from tutelage.peft.layout import (
    Base,
    by_module,
    module_names,
    opened,
    other_shape,
    read_tensors,
    tensor_name,
    write_adapter,
)
from tutelage.peft.lora import Settings

M = "lora_magnitude_vector"


class DoraLinear(LoraLinear):
    """A frozen Linear with its low-rank update and the length of every row that is updated."""

    base: Linear

    def __init__(
        self, base: Linear, rank: int, scale: float, dropout: float = 0.0,
        parts: Int[Tensor, "K W"] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(base, rank, scale, dropout, parts)
        squares = base.weight.detach().float().square().sum(1)
        self.squares = nn.Buffer(squares, persistent=False)
        lengths = squares.sqrt()
        self.lora_m = nn.Parameter(lengths if parts is None else lengths[parts.flatten()])

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        gain = self.magnitude().float() / self.lengths()
        y = self.product(x) * gain.to(x.dtype)
        return y if self.base.bias is None else y + self.base.bias.to(x.dtype)

    def magnitude(self) -> Float[Tensor, "O"]:
        """m; of rows that are not updated their length, which does not change."""
        if self.parts is None:
            return self.lora_m
        return self.lengths().index_put((self.parts.flatten(),), self.lora_m)

    @torch.no_grad()
    def lengths(self) -> Float[Tensor, "O"]:
        """|W + s B A| by row, in float32, without making the sum:
        |w + s A'b|^2 = |w|^2 + 2 s b.(A w) + s^2 b.(A A' b)."""
        a, b = self.lora_a.float(), self.scale * self.up().float()
        weight = self.base.weight
        mixed = (weight @ a.t().to(weight.dtype)).float()
        more = (b * (2 * mixed + b @ (a @ a.t()))).sum(1)
        return (self.squares + more).clamp_min(torch.finfo(torch.float32).tiny).sqrt()

    def merged(self) -> tuple[Tensor, Tensor | None]:
        whole = self.base.weight.float() + self.update()
        return whole * (self.magnitude().float() / whole.norm(dim=1))[:, None], None


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Wrap every Linear that is asked for; A, B and m are trained, in float32."""
    lora_actions.attach_as(DoraLinear, model, weights, settings, seed)


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, its weights in float32."""
    names, tensors = module_names(checkpoint), tensors_of(model, checkpoint)
    for path, one in wrapped(model):
        assert isinstance(one, DoraLinear)
        tensors[tensor_name(names[path], M)] = one.magnitude()
    config = {**lora_actions.written(model, checkpoint, settings), "use_dora": True}
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the DoRA adapter in `folder`, ours or PEFT's, frozen. Raises SourceError if it is
    none, asks for what is not honoured, was made on other weights, or does not fit."""
    base = Base.of(checkpoint, model)
    config = opened(folder, base, "LORA", {**HONOURED, "use_dora": (True,)}, ANY_VALUE)

    def make(stem: str, linear: Any, parts: Mapping[str, Tensor]) -> DoraLinear:
        one: DoraLinear = filled(DoraLinear, linear, parts, config, folder, stem, linear.weight)
        if parts[M].shape != one.lora_m.shape:
            expected = str(list(one.lora_m.shape))
            raise other_shape(folder, stem, f"m {list(parts[M].shape)}", f"m {expected}")
        one.lora_m = frozen(parts[M], one.squares)
        return one

    attach_read(model, checkpoint, folder, by_module(read_tensors(folder), (A, B, M), folder), make)


ACTIONS = replace(lora_actions.ACTIONS, attach=attach, write=write, read=read)
