"""LoRA: a low-rank update beside frozen linear maps.

    y = W x + (alpha / R) B A x,      A [R, in] uniform in +-1/sqrt(in),  B [out, R] zero

so that the model starts as it was. Trained parameters: the sum of R (in + out) over its targets.
Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; A's initialization as in their code (Kaiming
uniform with a = sqrt 5), where the paper says Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import ConfigError, SourceError, UnknownName
from tutelage.models.forward import Model
from tutelage.models.spec import Family, Weight, is_linear, spec_for
from tutelage.nn.linear import Linear
from tutelage.peft._method import Method, Settings
from tutelage.peft.layout import (
    CONFIG,
    WEIGHTS,
    Base,
    endings,
    module_names,
    read_config,
    read_tensors,
    refuse,
    refuse_other_base,
    write_adapter,
)

DEFAULT_RANK = 16
PARTS = ("lora_A", "lora_B")
TASKS: Mapping[Family, str] = {
    "encoder": "FEATURE_EXTRACTION",
    "decoder": "CAUSAL_LM",
    "encoder-decoder": "SEQ_2_SEQ_LM",
}
"""What PEFT calls the use of a family's models."""
HONOURED = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}
"""Settings of PEFT's LoRA with the values that are honoured. Other ways of starting (PiSSA, OLoRA,
LoftQ ...) also change the base's weights, which the adapter's file does not hold."""

ANY_VALUE = frozenset({
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path",
    "revision", "inference_mode", "r", "lora_alpha", "use_rslora", "rank_pattern",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout",
    "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "velora_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying",
})  # fmt: skip
"""Settings that are read here, follow from the weights' names, or matter to training alone."""


class LoraLinear(nn.Module):
    """A frozen Linear with its low-rank update; `scale` is alpha / R."""

    def __init__(self, base: Linear, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = base.shape
        self.role = base.role
        self.base = base
        self.scale = scale
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(rank, columns, dtype=torch.float32, device=device))
        self.lora_b = nn.Parameter(torch.zeros(rows, rank, dtype=torch.float32, device=device))

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        a, b = self.lora_a.to(x.dtype), (self.lora_b * self.scale).to(x.dtype)
        if type(self.base) is Linear and not self.base.weight.requires_grad:
            weight = self.base.weight.to(x.dtype)
            flat: Tensor = _Adapted.apply(x.reshape(-1, x.shape[-1]), weight, a, b)
            y = flat.view(*x.shape[:-1], -1)
            return y if self.base.bias is None else y + self.base.bias.to(x.dtype)
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, a), b)

    @torch.no_grad()
    def merge(self) -> Linear:
        """The plain Linear with W + scale B A, computed in float32, in W's type."""
        update = self.scale * (self.lora_b.float() @ self.lora_a.float())
        weight = self.base.weight
        weight.copy_((weight.float() + update).to(weight.dtype))
        return self.base


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


def resolve(settings: Settings, weights: Sequence[Weight]) -> Settings:
    """Fill in defaults. Raises UnknownName for a role the model has not, ConfigError for a rank
    or a scale that is none."""
    linears = [w for w in weights if is_linear(w)]
    known = dict.fromkeys(weight.role for weight in linears)
    roles = settings.roles or tuple(known)
    for role in roles:
        if role not in known:
            raise UnknownName("role", role, known, field="--role")
    rank = DEFAULT_RANK if settings.rank is None else settings.rank
    widest = min(min(w.shape) for w in linears if w.role in roles)
    if not 1 <= rank <= widest:
        raise ConfigError(
            "the rank must be at least 1 and at most the width of what it updates",
            field="--rank",
            got=rank,
            expected=f"1 to {widest}",
        )
    alpha = 2.0 * rank if settings.alpha is None else settings.alpha
    if not 0 < alpha < math.inf:
        raise ConfigError(
            "the scale must be a positive number", field="--alpha", got=alpha, expected="above 0"
        )
    return Settings(rank=rank, alpha=alpha, roles=tuple(roles))


def attach(model: Model, settings: Settings, seed: int) -> None:
    """Wrap every Linear whose role is asked for; only A and B are trained, in float32."""
    assert settings.rank is not None and settings.alpha is not None and settings.roles is not None
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for parent, name, linear in list(_targets(model, settings.roles)):
        wrapped = LoraLinear(linear, settings.rank, settings.alpha / settings.rank)
        bound = 1 / math.sqrt(linear.shape[1])
        start = torch.rand(settings.rank, linear.shape[1], generator=generator) * 2 - 1
        wrapped.lora_a.data.copy_(start * bound)
        setattr(parent, name, wrapped)


def merge(model: Model) -> None:
    """Fold every update into its weight; the model is plain again."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                setattr(parent, name, child.merge())


def count(weights: Sequence[Weight], settings: Settings) -> int:
    """sum over targets of R (in + out)."""
    assert settings.rank is not None and settings.roles is not None
    targets = [w for w in weights if w.role in settings.roles and len(w.shape) == 2]
    return sum(settings.rank * sum(weight.shape) for weight in targets)


def write(model: Model, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """The adapter in PEFT's own layout, its weights in float32."""
    names = module_names(checkpoint)
    tensors: dict[tuple[str, str], Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, LoraLinear):
            tensors[names[path], "lora_A"] = module.lora_a
            tensors[names[path], "lora_B"] = module.lora_b
    config = {
        "peft_type": "LORA",
        "task_type": TASKS[spec_for(checkpoint.config).family],
        "base_model_name_or_path": checkpoint.source,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": 0.0,
        "target_modules": endings({stem for stem, _ in tensors}, names.values()),
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
    }
    write_adapter(folder, config, tensors, Base.of(checkpoint, model.built_from))


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Attach the LoRA adapter in `folder`, ours or PEFT's, frozen, in the model's own type.

    Raises SourceError if it is no LoRA adapter, asks for what is not honoured, was made on other
    weights, or does not fit.
    """
    config = read_config(folder)
    if config.get("peft_type") != "LORA":
        raise SourceError(
            "only LoRA adapters can be attached",
            field=f"{folder / CONFIG}: peft_type",
            got=config.get("peft_type"),
            expected="LORA",
        )
    refuse(config, HONOURED, ANY_VALUE, folder)
    refuse_other_base(folder, Base.of(checkpoint, model.built_from))
    paths = {stem: path for path, stem in module_names(checkpoint).items()}
    modules = dict(model.named_modules())
    wrapped: dict[str, LoraLinear] = {}
    for stem, parts in read_tensors(folder, PARTS).items():
        path = paths.get(stem, "")
        linear = modules.get(path)
        if not isinstance(linear, Linear):
            raise SourceError(
                "the adapter tunes a module this model does not have",
                field=str(folder / WEIGHTS),
                got=stem,
            )
        wrapped[path] = _frozen(linear, parts, config, folder, stem)
    for path, module in wrapped.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, module)


def _frozen(
    linear: Linear, parts: dict[str, Tensor], config: dict[str, Any], folder: Path, stem: str
) -> LoraLinear:
    a, b = parts["lora_A"], parts["lora_B"]
    rows, columns = linear.shape
    rank = a.shape[0] if a.ndim else 0
    if rank < 1 or a.shape != (rank, columns) or b.shape != (rows, rank):
        raise SourceError(
            "the adapter was made for a model of another shape",
            field=f"{folder / WEIGHTS}: {stem}",
            got=f"A {list(a.shape)}, B {list(b.shape)}",
            expected=f"A [R, {columns}], B [{rows}, R]",
        )
    wrapped = LoraLinear(linear, rank, _scale(config, rank, folder))
    like = linear.weight
    wrapped.lora_a = nn.Parameter(a.to(like.device, like.dtype), requires_grad=False)
    wrapped.lora_b = nn.Parameter(b.to(like.device, like.dtype), requires_grad=False)
    return wrapped


def _scale(config: dict[str, Any], rank: int, folder: Path) -> float:
    """alpha / R, or alpha / sqrt(R) if rank-stabilised (Kalajdzievski 2023, arXiv:2312.03732)."""
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
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _targets(model: Model, roles: Sequence[str]) -> Iterator[tuple[nn.Module, str, Linear]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, Linear) and child.role in roles:
                yield parent, name, child


METHOD = Method(
    name="lora",
    adapter=True,
    learning_rate=2e-3,
    resolve=resolve,
    attach=attach,
    count=count,
    write=write,
)
