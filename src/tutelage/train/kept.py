"""What an optimizer remembers, kept beside a finished model, so that training can go on warm.

    RUN/optimizer/   optimizer.safetensors  about.json  manifest.json

A model that is gone on with begins with an optimizer that knows nothing: its first updates are made
by the gradients of a few batches. With what was kept they go on as large and in the direction as
they were; the learning rate rises and falls anew (Loshchilov and Hutter 2017, arXiv:1608.03983).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from tutelage import store
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import ConfigError
from tutelage.train.optimizer import Optimizers, optimizer_tensors, restore_optimizer

MOMENTS, ABOUT = "optimizer.safetensors", "about.json"


def keep(
    folder: Path, model: Path, kind: str, parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizers,
) -> None:  # fmt: skip
    """Write `folder`: what the optimizer, one of that kind, remembers of the model saved in
    `model`."""
    found = optimizer_tensors(optimizer, parameters)
    with store.new_folder(folder) as inside:
        write_tensors({n: t.detach().cpu() for n, t in found.items()}, inside / MOMENTS)
        store.write_json(inside / ABOUT, {"model": identity(model), "optimizer": kind})


def check(folder: Path, model: Path, kind: str, field: str) -> str:
    """What tells the kept optimizer from any other. Raises ConfigError naming `field` where there
    is none, or one of another kind or model, DamagedError where it is not what was written."""
    if not (folder / ABOUT).is_file():
        raise ConfigError(
            "no optimizer was kept beside the model to go on from", field=field, got=folder,
            expected="model.start = the folder of a finished pretraining run",
        )  # fmt: skip
    store.verify(folder)
    about = store.read_json(folder / ABOUT)
    if about["optimizer"] != kind:
        raise ConfigError(
            "another optimizer was kept", field=field, got=about["optimizer"], expected=kind,
            hint=f'optimizer = "{about["optimizer"]}", or no warm restart',
        )  # fmt: skip
    if about["model"] != identity(model):
        raise ConfigError(
            "the optimizer was kept of another model", field=field, got=folder,
            expected=f"that of {model}",
        )  # fmt: skip
    return store.sha256(folder / store.MANIFEST)


def restore(folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: Optimizers) -> None:
    """Begin with what was kept."""
    restore_optimizer(optimizer, parameters, load_file(folder / MOMENTS))


def identity(model: Path) -> str | None:
    """By what a model's folder is known: its manifest; None where it has none."""
    file = model / store.MANIFEST
    return store.sha256(file) if file.is_file() else None
