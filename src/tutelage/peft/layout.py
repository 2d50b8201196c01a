"""Adapters on disk in PEFT's own layout: either library opens the other's.

    adapter_config.json          what it is and what it is for
    adapter_model.safetensors    base_model.model.<Hugging Face module name>.<part>.weight
    base.json                    which weights it was made on; ours alone, PEFT passes it over

Knows files, names and refusals; what the tensors mean is each method's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import DamagedError, SourceError
from tutelage.models.spec import layout

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Base:
    """The model an adapter is made on: its source with what else decides its weights, their hash
    (`checkpoints/weights_hash`)."""

    source: str
    weights: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, weights: str) -> Base:
        seed = checkpoint.identity.get("seed")
        named = checkpoint.source if seed is None else f"{checkpoint.source} with --seed {seed}"
        return cls(named, weights)

    def __str__(self) -> str:
        return f"{self.source} (weights {self.weights[:12]})"


def write_adapter(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[tuple[str, str], Tensor],
    base: Base,
) -> None:
    """Write the files. `tensors` maps (Hugging Face module name, part) to values."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {
        f"{PREFIX}{stem}.{part}.weight": tensor.detach().cpu().contiguous()
        for (stem, part), tensor in tensors.items()
    }
    write_tensors(named, folder / WEIGHTS)
    store.write_json(folder / CONFIG, dict(config))
    store.write_json(folder / BASE, asdict(base))


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration. Raises SourceError if the folder is no adapter, DamagedError if
    it has our manifest and is not what was written."""
    path = folder / CONFIG
    if not path.is_file():
        raise SourceError(f"{folder} is not an adapter", field=str(path), expected="a file")
    if (folder / store.MANIFEST).exists():
        store.verify(folder)
    config: Any = store.read_json(path)
    if not isinstance(config, dict):
        raise SourceError(f"{path} is not an adapter's configuration", field=str(path), got=config)
    return config


def refuse_other_base(folder: Path, base: Base) -> None:
    """Raise SourceError if the adapter was made on other weights than these. One that does not say,
    as PEFT writes it, is taken at its word."""
    path = folder / BASE
    if not path.is_file():
        return
    try:
        made_on = Base(**store.read_json(path))
    except TypeError:
        raise DamagedError(
            f"{path} does not say what the adapter was made on", field=str(path)
        ) from None
    if made_on.weights != base.weights:
        raise SourceError(
            "the adapter was made on another model, and would give nonsense on this one",
            field=str(path),
            got=base,
            expected=made_on,
            hint=f"name the model it was made on: {made_on.source}",
        )


def refuse(
    config: Mapping[str, Any],
    honoured: Mapping[str, tuple[Any, ...]],
    any_value: Collection[str],
    folder: Path,
) -> None:
    """Raise SourceError at the first setting that is switched on and not known to be honoured.

    A setting of a later version is refused too: ignoring it could change the answers.
    """
    for key, value in config.items():
        if value and key not in any_value and value not in honoured.get(key, ()):
            raise SourceError(
                "the adapter uses a setting that is not honoured",
                field=f"{folder / CONFIG}: {key}",
                got=value,
                expected=" or ".join(map(str, honoured.get(key, ("nothing",)))),
            )


def read_tensors(folder: Path, parts: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """Hugging Face module name -> part -> values, every module with all of `parts`.

    Raises DamagedError, or SourceError for weights of another kind or none at all."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise SourceError(f"{folder} lacks its weights", field=str(path), expected="a file")
    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own kind and OSError
        raise DamagedError(f"{path} cannot be read: {error}", field=str(path)) from None
    if not tensors:
        raise SourceError("the adapter holds no weights", field=str(path), got="no tensors")
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        stem, _, part = name.removesuffix(".weight").rpartition(".")
        if not stem.startswith(PREFIX) or part not in parts:
            raise SourceError("not a weight of this kind of adapter", field=str(path), got=name)
        found.setdefault(stem.removeprefix(PREFIX), {})[part] = tensor
    for stem, have in found.items():
        if set(have) != set(parts):
            raise SourceError(
                "the adapter is incomplete",
                field=f"{path}: {stem}",
                got=", ".join(have),
                expected=", ".join(parts),
            )
    return found


def endings(chosen: Collection[str], known: Collection[str]) -> list[str]:
    """The shortest endings of dotted names by which PEFT finds exactly the `chosen` among those
    `known`: `q_proj`, or `SelfAttention.q` where there is an `EncDecAttention.q` that is not."""
    others = [f".{name}" for name in known if name not in chosen]
    found: set[str] = set()
    for length in range(1, 1 + max(name.count(".") + 1 for name in chosen)):
        found = {".".join(name.split(".")[-length:]) for name in chosen}
        if not any(other.endswith(f".{ending}") for other in others for ending in found):
            break
    return sorted(found)


def module_names(checkpoint: Checkpoint) -> dict[str, str]:
    """Our module path -> Hugging Face's module name."""
    return {
        weight.path.removesuffix(".weight"): weight.hf_name.removesuffix(".weight")
        for weight in layout(checkpoint.config)
        if weight.path.endswith(".weight")
    }
