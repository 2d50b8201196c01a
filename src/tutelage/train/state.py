"""Checkpoints of an unfinished run: whole or not at all, the last good one used.

    STATE/step-00000120/   weights.safetensors  optimizer.safetensors  progress.json  manifest.json

A folder that is damaged is named and passed over for the one before it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tutelage import store
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import DamagedError, RequestError
from tutelage.train.optimizer import Optimizers, optimizer_tensors, restore_optimizer

KEPT = 2
"""Checkpoints kept: the newest, and one to fall back on."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands: `step` steps made, seconds spent on them, by the clock and by all
    processors together, its loss curve, and the state of its loss scale if it has one."""

    step: int
    seconds: float
    trained_tokens: int
    curve: tuple[tuple[int, float, float], ...]
    processor_seconds: float = 0.0
    scale: dict[str, Any] | None = None


def save(
    folder: Path,
    request: str,
    progress: Progress,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizers,
) -> None:
    """Write one checkpoint; drop those before the last, and damaged ones of steps to come.

    `request` is the digest of all inputs; after a colon that of the code that works on them."""
    here = folder / f"step-{progress.step:08d}"
    with store.new_folder(here) as inside:
        weights = {n: p.detach().cpu() for n, p in parameters.items()}
        write_tensors(weights, inside / "weights.safetensors")
        moments = {n: t.detach().cpu() for n, t in optimizer_tensors(optimizer, parameters).items()}
        write_tensors(moments, inside / "optimizer.safetensors")
        store.write_json(inside / "progress.json", {"request": request, **vars(progress)})
    made = [path for path in _folders(folder) if path.name <= here.name]
    for old in set(_folders(folder)).difference(made[-KEPT:]):
        shutil.rmtree(old)


def resume(
    folder: Path,
    request: str,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizers,
    note: Callable[[str], None],
) -> Progress | None:
    """Set weights and optimizer from the newest good checkpoint; None if there is none.

    Damaged ones are named through `note`. Raises RequestError if it belongs to another request.
    """
    for candidate in reversed(_folders(folder)):
        try:
            progress = _verified(candidate)
        except DamagedError as error:
            note(f"{error.message}; using the checkpoint before it")
            continue
        made_by = progress.pop("request")
        if made_by != request:
            raise of_another(folder, made_by, request)
        _set(parameters, load_file(candidate / "weights.safetensors"))
        restore_optimizer(optimizer, parameters, load_file(candidate / "optimizer.safetensors"))
        progress["curve"] = tuple(tuple(point) for point in progress["curve"])
        return Progress(**progress)
    return None


def of_another(folder: Path, made_by: object, request: str) -> RequestError:
    """What to raise where a folder's checkpoints are not this request's."""
    return RequestError(
        f"the folder holds the unfinished work of another request{apart(made_by, request)}",
        field=str(folder),
        hint="remove it, or choose another --out",
    )


def apart(made_by: object, request: str) -> str:
    """What to add where two requests are not the same: that only the code has changed, or ""."""
    inputs, _, code = request.partition(":")
    if code and str(made_by).startswith(f"{inputs}:"):
        return ": the same was asked for, before Tutelage or torch changed"
    return ""


def _verified(candidate: Path) -> dict[str, Any]:
    """The progress of a checkpoint of which every file, the manifest too, is what was written."""
    try:
        store.verify(candidate)
        return dict(store.read_json(candidate / "progress.json"))
    except (KeyError, TypeError, ValueError, AttributeError, FileNotFoundError) as error:
        raise DamagedError(
            f"{candidate / store.MANIFEST} is damaged", field=str(candidate), got=error
        ) from None


def _set(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _folders(folder: Path) -> list[Path]:
    """Checkpoints by step, oldest first; the name counts, never the clock."""
    return sorted(p for p in folder.glob("step-*") if p.is_dir())


def discard(folder: Path) -> None:
    """Remove a finished run's checkpoints. Call while holding the lock: whoever takes it next must
    not lose theirs."""
    shutil.rmtree(folder, ignore_errors=True)
