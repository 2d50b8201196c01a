"""VeRA on a model: one random pair for all linear maps, each with scales of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import SourceError
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
from tutelage.peft.layout import (
    CONFIG,
    WEIGHTS,
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
from tutelage.peft.vera import Settings, largest, targets

START = 0.1
SHARED = ("base_model.vera_A", "base_model.vera_B")
OUT, IN = "vera_lambda_b", "vera_lambda_d"
ANY_VALUE = (
    "r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial", "init_weights",
)  # fmt: skip
Pair = tuple[Tensor, Tensor]


class VeraLinear(Wrapped):
    """A frozen Linear with the scales of its cut of the shared pair."""

    base: Linear

    def __init__(self, base: Linear, pair: Pair) -> None:
        super().__init__(base)
        rows, columns = base.shape
        self.a = nn.Buffer(pair[0][:, :columns], persistent=False)
        self.b = nn.Buffer(pair[1][:rows], persistent=False)
        self.vera_b = trainable(rows, like=base.weight)
        self.vera_d = trainable(len(self.a), like=base.weight, fill=START)

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        low = nn.functional.linear(x, self.a.to(x.dtype)) * self.vera_d.to(x.dtype)
        more = nn.functional.linear(low, self.b.to(x.dtype)) * self.vera_b.to(x.dtype)
        y: Tensor = self.base(x) + more
        return y

    def merged(self) -> tuple[Tensor, Tensor | None]:
        wide = (self.vera_b.float()[:, None] * self.b.float(), self.vera_d.float()[:, None])
        return self.base.weight.float() + wide[0] @ (wide[1] * self.a.float()), None


def drawn(rank: int, columns: int, rows: int, seed: int) -> Pair:
    """A [R, columns] and B [rows, R] in float32, as PEFT draws them from its key."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.empty(rank, columns), torch.empty(rows, rank)
    for values, fan in ((a, columns), (b, rank)):
        bound = math.sqrt(3.0) * (math.sqrt(2.0) / math.sqrt(fan))
        values.uniform_(-bound, bound, generator=generator)
    return a, b


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Wrap every Linear that is asked for; only the scales are trained, in float32. The pair is in
    the type the model computes in."""
    assert settings.rank is not None
    found = targets(weights, settings)
    pair = drawn(settings.rank, *largest(found), seed)
    a, b = (part.to(model.device, model.compute) for part in pair)
    wrap(model, found, lambda linear: VeraLinear(linear, (a, b)))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, in float32, with the pair as it was used."""
    names, pairs = module_names(checkpoint), []
    tensors: dict[str, Tensor] = {}
    for path, one in wrapped(model):
        assert isinstance(one, VeraLinear)
        tensors[tensor_name(names[path], OUT)] = one.vera_b
        tensors[tensor_name(names[path], IN)] = one.vera_d
        pairs.append((one.a, one.b))
    widest = max((a for a, _ in pairs), key=lambda a: a.shape[1])
    tallest = max((b for _, b in pairs), key=len)
    tensors |= dict(zip(SHARED, (widest.float(), tallest.float()), strict=True))
    config = {
        **common_config("VERA", checkpoint),
        **targets_config([path for path, _ in wrapped(model)], checkpoint, settings.layers),
        "r": settings.rank,
        "d_initial": START,
        "vera_dropout": 0.0,
        "bias": "none",
        "projection_prng_key": 0,
        "save_projection": True,
        "init_weights": True,
    }
    write_adapter(folder, config, tensors, Base.of(checkpoint, model))


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the adapter in `folder`, ours or PEFT's, frozen. Raises SourceError if it is none,
    asks for what is not honoured, was made on other weights, or does not fit."""
    base = Base.of(checkpoint, model)
    config = opened(folder, base, "VERA", {"bias": ("none",)}, ANY_VALUE)
    tensors = read_tensors(folder)
    given = [tensors.pop(name, None) for name in SHARED]
    modules = by_module(tensors, (OUT, IN), folder)
    a, b = _pair(given, config, modules, model, checkpoint, folder)

    def make(stem: str, linear: Linear, parts: Mapping[str, Tensor]) -> VeraLinear:
        (rows, columns), got = linear.shape, [list(parts[name].shape) for name in (OUT, IN)]
        fits = a.shape[1] >= columns and len(b) >= rows and a.shape[0] == b.shape[1]
        if not fits or got != [[rows], [len(a)]]:
            said = f"A {list(a.shape)}, B {list(b.shape)}, scales {got}"
            expected = f"A [R, {columns} or more], B [{rows} or more, R], scales [[{rows}], [R]]"
            raise other_shape(folder, stem, said, expected)
        one = VeraLinear(linear, (a, b))
        one.vera_b, one.vera_d = (frozen(parts[name], linear.weight) for name in (OUT, IN))
        return one

    attach_read(model, checkpoint, folder, modules, make)


def _pair(
    given: Sequence[Tensor | None], config: Mapping[str, Any], modules: Mapping[str, Any],
    model: Model, checkpoint: Checkpoint, folder: Path,
) -> Pair:  # fmt: skip
    """The shared pair in the model's own type: as stored, else drawn again from its key."""
    a, b = given
    if a is None or b is None:
        if config.get("save_projection", True):
            raise SourceError(
                "the adapter is incomplete", field=str(folder / WEIGHTS), got="no shared pair",
                expected=" and ".join(SHARED),
            )  # fmt: skip
        rank, key = config.get("r"), config.get("projection_prng_key")
        if not isinstance(rank, int) or not isinstance(key, int):
            raise SourceError(
                "the adapter does not say how its pair is drawn", field=str(folder / CONFIG),
                got=f"r {rank}, projection_prng_key {key}", expected="two numbers",
            )  # fmt: skip
        names = module_names(checkpoint)
        shapes = [
            module.shape
            for path, module in model.named_modules()
            if isinstance(module, Linear) and names.get(path) in modules
        ] or [(1, 1)]
        a, b = drawn(rank, max(s[1] for s in shapes), max(s[0] for s in shapes), key)
    if a.ndim != 2 or b.ndim != 2:
        raise other_shape(folder, SHARED[0], f"{a.ndim} and {b.ndim} axes", "2 axes each")
    return a.to(model.device, model.compute), b.to(model.device, model.compute)


ACTIONS = Actions(attach, write, read, merge, detach)
