"""LoRA: a low-rank update beside frozen linear maps.

    y = W x + s B A x,      A [R, in] uniform in +-1/sqrt(in),  B [out, R] zero
    s = alpha / R, or alpha / sqrt(R) if rank-stabilized

so that the model starts as it was. Trained parameters: the sum of R (in + out) over its targets.
Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; A's initialization as in their code (Kaiming
uniform with a = sqrt 5), where the paper says Gaussian. Kalajdzievski 2023, arXiv:2312.03732,
theorem 3.2, for sqrt(R).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.config import Frozen
from tutelage.errors import SourceError
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.nn.linear import Linear
from tutelage.peft._method import Method
from tutelage.peft._targets import (
    chosen,
    layers_of,
    narrowest,
    rank_of,
    reached,
    roles_of,
    scale_of,
    share_of,
)
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
from tutelage.plan.memory import Tuning

DEFAULT_RANK = 16
DEFAULT_SCALE = 2.0
A, B = "lora_A.weight", "lora_B.weight"
HONOURED = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}
"""Settings of PEFT's LoRA with the values that are honoured. Other ways of starting (PiSSA, OLoRA,
LoftQ ...) also change the base's weights, which the adapter's file does not hold."""

ANY_VALUE = frozenset({
    "r", "lora_alpha", "use_rslora", "rank_pattern", "lora_dropout",
    "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "velora_config", "qalora_group_size", "ensure_weight_tying",
})  # fmt: skip
"""Settings of LoRA that are read here or matter to training alone."""


class Settings(Frozen):
    """None means a default, which `resolve` puts in."""

    rank: int | None = None
    """R; 16, or the narrowest width it updates if that is less."""
    alpha: float | None = None
    """The scale before it is divided; by default such that s = 2."""
    roles: tuple[str, ...] | None = None
    """Linears that get an update, as attn.q; None is all inside the blocks."""
    layers: tuple[int, ...] | None = None
    """Layers that get one, from 0; None is all."""
    rslora: bool = False
    """Divide alpha by sqrt(R) instead of R."""
    dropout: float = 0.0
    """Share of A's inputs left out in training."""


class LoraLinear(Wrapped):
    """A frozen Linear with its low-rank update times `scale`."""

    def __init__(self, base: Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__(base)
        rows, columns = base.shape
        self.scale = scale
        self.dropout = dropout
        self.lora_a = trainable(rank, columns, like=base.weight)
        self.lora_b = trainable(rows, rank, like=base.weight)

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        y = self.product(x)
        return y if self.base.bias is None else y + self.base.bias.to(x.dtype)

    def product(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """W x + s B A x"""
        a, b = self.lora_a.to(x.dtype), (self.lora_b * self.scale).to(x.dtype)
        weight = self.base.weight.to(x.dtype)
        if weight.requires_grad or (self.training and self.dropout):
            low = nn.functional.linear(nn.functional.dropout(x, self.dropout, self.training), a)
            return nn.functional.linear(x, weight) + nn.functional.linear(low, b)
        flat: Tensor = _Adapted.apply(x.reshape(-1, x.shape[-1]), weight, a, b)
        return flat.view(*x.shape[:-1], -1)

    def update(self) -> Float[Tensor, "O I"]:
        """s B A in float32."""
        return self.scale * (self.lora_b.float() @ self.lora_a.float())

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.base.weight.float() + self.update(), None


class _Adapted(torch.autograd.Function):
    """W x + B A x with W frozen. Adding the narrow products in place spares a pass over y, and over
    the gradient of x, for each, which takes longer than the products themselves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        low = x @ a.t()
        y = x @ weight.t()
        y.addmm_(low, b.t())
        ctx.save_for_backward(x, weight, a, b, low)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b, low = ctx.saved_tensors
        dlow = dy @ b
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dy @ weight
            dx.addmm_(dlow, a)
        return dx, None, dlow.t() @ x, (low.t() @ dy).t()


def resolve(settings: Settings, weights: Sequence[Weight], shape: Shape) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a layer
    it has not, a rank, a scale or a share that is none."""
    roles, layers = roles_of(settings.roles, weights), layers_of(settings.layers, weights)
    rank = rank_of(settings.rank, DEFAULT_RANK, narrowest(chosen(weights, roles, layers)))
    usual = DEFAULT_SCALE * _divisor(rank, settings.rslora)
    return settings.model_copy(
        update={
            "rank": rank,
            "alpha": scale_of(settings.alpha, usual),
            "roles": roles,
            "layers": layers,
            "dropout": share_of(settings.dropout),
        }
    )


def _divisor(rank: int, rslora: bool) -> float:
    return math.sqrt(rank) if rslora else rank


def attach(model: Model, weights: Sequence[Weight], settings: Settings, seed: int) -> None:
    """Wrap every Linear that is asked for; only A and B are trained, in float32."""
    attach_as(LoraLinear, model, weights, settings, seed)


def attach_as(
    kind: type[LoraLinear], model: Model, weights: Sequence[Weight], settings: Settings, seed: int
) -> None:
    """Likewise, with wrappers of this kind."""
    rank, alpha = settings.rank, settings.alpha
    assert rank is not None and alpha is not None
    generator = torch.Generator().manual_seed(seed)

    def make(linear: Linear) -> LoraLinear:
        one = kind(linear, rank, alpha / _divisor(rank, settings.rslora), settings.dropout)
        start = torch.rand(rank, linear.shape[1], generator=generator) * 2 - 1
        one.lora_a.data.copy_(start * (1 / math.sqrt(linear.shape[1])))
        return one

    wrap(model, targets(weights, settings), make)


def targets(weights: Sequence[Weight], settings: Settings) -> list[Weight]:
    """The matrices that get an update."""
    assert settings.roles is not None
    return chosen(weights, settings.roles, settings.layers)


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over targets of R (in + out)."""
    assert settings.rank is not None
    return sum(settings.rank * sum(weight.shape) for weight in targets(weights, settings))


def cost(weights: Sequence[Weight], settings: Settings) -> Tuning:
    assert settings.rank is not None and settings.roles is not None
    trained = count(weights, settings)
    tuning = Tuning(
        trained=trained,
        roles=settings.roles,
        beside=tuple((role, settings.rank) for role in settings.roles),
        work=3 * trained,
    )
    return reached(tuning, weights, targets(weights, settings))


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, its weights in float32."""
    config, tensors = written(model, checkpoint, settings), tensors_of(model, checkpoint)
    write_adapter(folder, config, tensors, Base.of(checkpoint, model.built_from))


def tensors_of(model: Model, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A and B of what is attached, by PEFT's names."""
    names = module_names(checkpoint)
    tensors: dict[str, Tensor] = {}
    for path, one in wrapped(model):
        assert isinstance(one, LoraLinear)
        tensors[tensor_name(names[path], A)] = one.lora_a
        tensors[tensor_name(names[path], B)] = one.lora_b
    return tensors


def written(model: Model, checkpoint: Checkpoint, settings: Settings) -> dict[str, Any]:
    """PEFT's configuration of what is attached."""
    return {
        **common_config("LORA", checkpoint),
        **targets_config([path for path, _ in wrapped(model)], checkpoint, settings.layers),
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "bias": "none",
        "use_rslora": settings.rslora,
        "use_dora": False,
        "init_lora_weights": True,
    }


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the LoRA adapter in `folder`, ours or PEFT's, frozen, in the model's own type.

    Raises SourceError if it is no LoRA adapter, asks for what is not honoured, was made on other
    weights, or does not fit.
    """
    base = Base.of(checkpoint, model.built_from)
    config = opened(folder, base, "LORA", HONOURED, ANY_VALUE)

    def make(stem: str, linear: Linear, parts: Mapping[str, Tensor]) -> LoraLinear:
        return filled(LoraLinear, linear, parts, config, folder, stem)

    attach_read(model, checkpoint, folder, by_module(read_tensors(folder), (A, B), folder), make)


def filled(
    kind: type[LoraLinear], linear: Linear, parts: Mapping[str, Tensor], config: dict[str, Any],
    folder: Path, stem: str,
) -> Any:  # fmt: skip
    """A wrapper of this kind with A and B as read, frozen."""
    a, b = parts[A], parts[B]
    rows, columns = linear.shape
    rank = a.shape[0] if a.ndim else 0
    if rank < 1 or a.shape != (rank, columns) or b.shape != (rows, rank):
        got = f"A {list(a.shape)}, B {list(b.shape)}"
        raise other_shape(folder, stem, got, f"A [R, {columns}], B [{rows}, R]")
    one = kind(linear, rank, scale_in(config, rank, folder))
    one.lora_a, one.lora_b = frozen(a, linear.weight), frozen(b, linear.weight)
    return one


def scale_in(config: Mapping[str, Any], rank: int, folder: Path) -> float:
    """s of an update of this rank. Raises SourceError for a scale that is no number, and for a rank
    other than the configuration's."""
    alpha, said = config.get("lora_alpha", 8), config.get("r", 8)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise SourceError(
            "the adapter's scale is no number", field=f"{folder / CONFIG}: lora_alpha", got=alpha,
            expected="a number",
        )  # fmt: skip
    if said != rank and not config.get("rank_pattern"):
        raise SourceError(
            "the adapter's rank is another than its weights have",
            field=f"{folder / CONFIG}: r",
            got=said,
            expected=rank,
        )
    return float(alpha) / _divisor(rank, bool(config.get("use_rslora")))


METHOD = Method(
    name="lora",
    settings=Settings,
    learning_rate=2e-3,
    resolve=resolve,
    attach=attach,
    count=count,
    cost=cost,
    write=write,
    peft_type="LORA",
    read=read,
    merge=merge,
    detach=detach,
)
