"""Frozen linear maps with something trained beside them: how it is put there and taken away.

    wrap(model, weights, lambda linear: LoraLinear(linear, ...))    in the place of each Linear
    merge(model)                                                    what is beside, into the weight
    detach(model)                                                   the Linear again, bit for bit
    kept = Kept(model); merge(model); kept.restore(model)           merged, and bit for bit back

Models are neither edited nor subclassed: only which module stands in a Linear's place changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import GuardError
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import AnyLinear, QuantizedLinear
from tutelage.peft.layout import module_names, no_such_module


class Beside(nn.Module):
    """A frozen module and what is beside it, in its place."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base


class Folding(Beside):
    """A frozen module with a weight that may take in what is beside it.

    Subclasses compute `forward`, and `merged` where one matrix gives the same. `shared` is whether
    the weight has another use too, which merging would change: it is then left as it is."""

    shared = False

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """Weight in float32 and bias of the one module that gives the same; None keeps the bias."""
        raise GuardError(f"{type(self).__name__} cannot be merged", field="merge")


class Wrapped(Folding):
    """A frozen Linear and what is beside it; has the Linear's role and shape."""

    base: AnyLinear

    def __init__(self, base: AnyLinear) -> None:
        super().__init__(base)
        self.role = base.role

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape


def trainable(*shape: int, like: Tensor, fill: float = 0.0) -> nn.Parameter:
    """A float32 parameter where `like` lies."""
    return nn.Parameter(torch.full(shape, fill, dtype=torch.float32, device=like.device))


def frozen(value: Tensor, like: Tensor) -> nn.Parameter:
    """A parameter that is not trained, in the type and place of `like`."""
    return nn.Parameter(value.to(like.device, like.dtype), requires_grad=False)


def wrap(model: Model, weights: Iterable[Weight], make: Callable[[Linear], nn.Module]) -> None:
    """Freeze the model and put what `make` gives in the place of the Linear of each weight."""
    model.requires_grad_(False)
    for weight in weights:
        path = weight.path.removesuffix(".weight")
        linear = model.get_submodule(path)
        assert isinstance(linear, Linear), path
        put(model, path, make(linear))


def put(model: Model, path: str, module: nn.Module) -> None:
    """Make `module` stand at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def wrapped(model: Model) -> Iterator[tuple[str, Wrapped]]:
    """Every wrapped Linear with its path."""
    yield from [(path, one) for path, one in model.named_modules() if isinstance(one, Wrapped)]


def _folding(model: Model) -> list[tuple[str, Folding]]:
    """Everything that can be merged, with its path; what is below another first."""
    each = reversed(list(model.named_modules()))
    return [(path, one) for path, one in each if isinstance(one, Folding) and not one.shared]


@torch.no_grad()
def merge(model: Model) -> None:
    """Fold what is beside every weight into it, computed in float32 and rounded to the weight's
    type once. The model is plain again, but for weights that have another use too. A weight of few
    bits becomes one of the type computed in, as rounding the sum again would change the answers."""
    for path, one in _folding(model):
        weight, bias = one.merged()
        if isinstance(one.base, QuantizedLinear):
            put(model, path, one.base.plain(weight.to(model.compute)))
            continue
        for name, value in (("weight", weight), ("bias", bias)):
            if value is not None:
                own = one.base.get_parameter(name)
                own.copy_(value.to(own.dtype))
        put(model, path, one.base)


def detach(model: Model) -> None:
    """Take away what is beside every module. Their weights were never touched."""
    beside = [(path, one) for path, one in model.named_modules() if isinstance(one, Beside)]
    for path, one in reversed(beside):  # what is below another first
        put(model, path, one.base)


class Kept:
    """What stands beside a model's weights and the weights before a merge, which rounds: kept, so
    that the merge can be undone bit for bit."""

    def __init__(self, model: Model) -> None:
        self._kept = {
            path: (
                one,
                {name: value.detach().clone() for name, value in one.base.named_parameters()},
            )
            for path, one in _folding(model)
        }

    @torch.no_grad()
    def restore(self, model: Model) -> None:
        """Undo the merge."""
        for path, (one, values) in self._kept.items():
            for name, value in values.items():
                getattr(one.base, name).copy_(value)
            put(model, path, one)


def attach_read(
    model: Model,
    checkpoint: Checkpoint,
    folder: Path,
    modules: Mapping[str, Mapping[str, Tensor]],
    make: Callable[[str, Any, Mapping[str, Tensor]], nn.Module],
    kinds: tuple[type[nn.Module], ...] = (Linear,),
) -> None:
    """Put what `make` gives of (Hugging Face's module name, module, values) in the module's place,
    for all of `modules` or none. Raises SourceError for a module of these kinds that the model
    lacks, and what `make` raises."""
    paths = {stem: path for path, stem in module_names(checkpoint).items()}
    here = dict(model.named_modules())
    made: dict[str, nn.Module] = {}
    for stem, values in modules.items():
        path = paths.get(stem, "")
        module = here.get(path)
        if not isinstance(module, kinds):
            raise no_such_module(folder, stem)
        made[path] = make(stem, module, values)
    for path, module in made.items():
        put(model, path, module)
