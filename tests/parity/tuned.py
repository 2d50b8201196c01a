"""A way of tuning put on a model, with updates far from where it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tutelage.checkpoints.build import build
from tutelage.data.pack import Example
from tutelage.models.catalogue import layout, shape
from tutelage.peft import METHODS
from tutelage.peft._method import Method, settings_of
from tutelage.peft._virtual import virtual_of


def resolved(name: str, config: dict[str, Any], **options: Any) -> Any:
    """The method's settings on the model of this configuration."""
    method: Method = METHODS.get(name)
    return method.resolve(settings_of(method, options), layout(config), shape(config))


def built(name: str, checkpoint: Any, dtype: str = "fp32", **options: Any) -> Any:
    """A model of the checkpoint, its base held as the method wants it."""
    settings = resolved(name, checkpoint.config, **options)
    return build(checkpoint, dtype, form=METHODS.get(name).form(settings))


def attached(name: str, model: Any, checkpoint: Any, seed: int = 0, **options: Any) -> Any:
    """Attach the method; returns its settings."""
    settings = resolved(name, checkpoint.config, **options)
    METHODS.get(name).attach(model, layout(checkpoint.config), settings, seed)
    return settings


def stir(model: Any, size: float = 0.3, seed: int = 2) -> None:
    """Move everything that is trained."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * size)


def behind(model: Any, examples: list[Example]) -> list[Example]:
    """The rows with virtual tokens before them, where there are any: before what an encoder reads,
    if there is one and they are vectors."""
    found = virtual_of(model)
    ids, count = found.ids, len(found.ids)
    if examples[0].memory and not found.deep:
        return [replace(one, memory=(*ids, *one.memory)) for one in examples]
    return [
        replace(one, ids=(*ids, *one.ids), at=tuple(at + count for at in one.at))
        for one in examples
    ]


def tuned(name: str, checkpoint: Any, size: float = 0.3, **options: Any) -> tuple[Any, Any]:
    """A new model of the checkpoint as if tuned, and the settings."""
    model = built(name, checkpoint, **options)
    settings = attached(name, model, checkpoint, seed=3, **options)
    stir(model, size)
    return model, settings
