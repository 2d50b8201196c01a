"""The head of a task, trained beside whatever a method trains, and kept in its adapter.

In PEFT's layout it is one of `modules_to_save`: the module whole, under its own name. Which head it
is, and of which labels, stands in `base.json`. Trained parameters: K d, and its biases and layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import Task, task_of
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import DamagedError, SourceError
from tutelage.models.catalogue import layout
from tutelage.models.forward import Model
from tutelage.models.headed import TASK
from tutelage.models.spec import Weight
from tutelage.peft.layout import (
    BASE,
    CONFIG,
    PREFIX,
    SAVED,
    WEIGHTS,
    other_shape,
    read_config,
)

TASKS = {
    "classification": "SEQ_CLS",
    "regression": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "multiple-choice": "SEQ_CLS",
}
"""What PEFT calls the use of a model with such a head."""
POOLERS = ("pooler",)
BARE = "base_model."
"""Stands before names where PEFT wraps no module of the base: beside virtual tokens."""
NEW_RATE = 1.5e-3
"""At which a head that is new learns at least. Its random weights have to go all the way, those
below it but a little: at full tuning's own rate tags stay at `O` for hundreds of updates."""


def trained(weights: Sequence[Weight]) -> list[Weight]:
    """The head's weights, and those of a pooler that only it reads."""
    headed = any(weight.role == TASK for weight in weights)
    return [w for w in weights if headed and w.role in (TASK, *POOLERS)]


def attach(model: Model, weights: Sequence[Weight]) -> None:
    """Train the head in float32."""
    for weight in trained(weights):
        parent, _, name = weight.path.rpartition(".")
        module = model.get_submodule(parent)
        value = module.get_parameter(name)
        if not value.requires_grad:
            setattr(module, name, nn.Parameter(value.detach().to(torch.float32, copy=True)))


def rate_of(named: float | None, rate: float, new: bool) -> float:
    """The head's learning rate: as named, else that of the others, where it is `new` at least
    NEW_RATE."""
    if named is not None:
        return named
    return max(rate, NEW_RATE) if new else rate


def paces(weights: Sequence[Weight], scale: float) -> dict[str, tuple[float, float]]:
    """Of the head's own weights: the multiple of the others' learning rate, from the first step."""
    if scale == 1:
        return {}
    return {weight.path: (scale, 0.0) for weight in weights if weight.role == TASK}


def count(weights: Sequence[Weight], own: Sequence[Weight]) -> int:
    """What of the head the method does not count itself (`own`)."""
    there = {weight.path for weight in own}
    return sum(weight.count for weight in trained(weights) if weight.path not in there)


def add(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Put the head into an adapter that was just written."""
    task = task_of(checkpoint)
    assert task is not None
    weights = trained(layout(checkpoint.config))
    tensors = load_file(folder / WEIGHTS) if (folder / WEIGHTS).exists() else {}
    written = read_config(folder)
    above = BARE if "num_virtual_tokens" in written else PREFIX
    for weight in weights:
        value = model.get_parameter(weight.path).detach()
        tensors[above + weight.hf_name] = value.float().cpu().contiguous()
    write_tensors(tensors, folder / WEIGHTS)
    config = {
        **written,
        "task_type": TASKS[task.head],
        SAVED: sorted({_module(weight) for weight in weights}),
    }
    store.write_json(folder / CONFIG, config)
    said = {"task": task.head, "labels": list(task.labels)}
    store.write_json(folder / BASE, {**store.read_json(folder / BASE), "head": said})


def _module(weight: Weight) -> str:
    """By which name PEFT keeps a module whole: the head's outermost, or the pooler."""
    names = weight.hf_name.split(".")
    return names[0] if weight.role == TASK else "pooler"


def task_in(folder: Path) -> Task | None:
    """The head that an adapter brings. Raises DamagedError."""
    path = folder / BASE
    if not path.is_file():
        return None
    said: Any = store.read_json(path)
    found = said.get("head") if isinstance(said, dict) else None
    if found is None:
        return None
    try:
        return Task(str(found["task"]), tuple(map(str, found["labels"])))
    except (TypeError, KeyError):
        raise DamagedError(f"{path} does not say which head it has", field=str(path)) from None


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Put the head of an adapter, ours or PEFT's, in its place. Raises SourceError for one that
    does not fit the model."""
    if not read_config(folder).get(SAVED):
        return
    here = trained(layout(checkpoint.config))
    found = {
        name.removeprefix("base_model.").removeprefix("model."): value
        for name, value in load_file(folder / WEIGHTS).items()
    }
    if not any(weight.hf_name in found for weight in here if weight.role == TASK):
        raise SourceError(
            "the adapter keeps a module that this model has not",
            field=f"{folder / CONFIG}: {SAVED}",
            got=", ".join(map(str, read_config(folder)[SAVED])),
            expected="the head of a task", hint="name a model with the head that it was tuned with",
        )  # fmt: skip
    for weight in here:
        value = found.get(weight.hf_name)
        if value is None:
            continue  # a pooler that the adapter leaves as it was
        parent, _, name = weight.path.rpartition(".")
        module = model.get_submodule(parent)
        like = module.get_parameter(name)
        if value.shape != like.shape:
            raise other_shape(folder, weight.hf_name, str(list(value.shape)), str(list(like.shape)))
        own = value.to(like.device, like.dtype)
        setattr(module, name, nn.Parameter(own, requires_grad=False))
