"""Write a model as an ordinary Hugging Face folder, whole or not at all.

What transformers, or anything else that reads the layout, opens: configuration, safetensors (in
shards above 5 GB), tokenizer with its chat template, generation settings with the end tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.folder import INDEX
from tutelage.checkpoints.matched import matched
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import RequestError, WorkError
from tutelage.models.catalogue import spec_for

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5_000_000_000
LOADER_KEYS = ("dtype", "quantization_config", "_name_or_path", "auto_map", "transformers_version")
"""Keys of config.json that speak of how and where the weights were loaded from."""
TASKS = {
    "decoder": "text-generation",
    "encoder": "feature-extraction",
    "encoder-decoder": "text2text-generation",
}
"""What the Hub calls the task of a family, for the card."""


@dataclass(frozen=True)
class Saved:
    out: Path
    bytes: int
    """Of all files but the manifest."""
    sha256: str
    """Of the manifest, which holds the SHA-256 of every file."""


def save_folder(
    state: Mapping[str, torch.Tensor] | None,
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Saved:
    """Write `state` (Hugging Face names; None: the checkpoint's own weights) to `folder`.

    `dtype` is torch's name of the type to store, by default the configuration's. Raises WorkError
    if names or shapes are not the checkpoint's; RequestError if `folder` holds something else.
    """
    check_free(folder)
    with store.new_folder(folder) as temporary:
        write_model(state, checkpoint, temporary, dtype=dtype, shard_bytes=shard_bytes)
    manifest = store.read_json(folder / store.MANIFEST)
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    return Saved(folder, total, store.sha256(folder / store.MANIFEST))


def write_model(
    state: Mapping[str, torch.Tensor] | None,
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """The files of `save_folder` into a folder that the caller makes durable."""
    named = checkpoint.config.get("torch_dtype") or checkpoint.config.get("dtype")
    dtype = dtype or str(named or "float32")
    stored = _stored(state, checkpoint)
    write_beside(checkpoint, folder, config_to_save(checkpoint.config, dtype))
    _write_weights(stored, dtype, folder, shard_bytes)


def write_beside(checkpoint: Checkpoint, folder: Path, config: Mapping[str, Any]) -> None:
    """All files but the weights', with this configuration."""
    store.write_json(folder / "config.json", config)
    store.write_json(folder / "generation_config.json", _generation(checkpoint))
    checkpoint.tokenizer.to_files(folder)
    for name, content in checkpoint.sentence.items():
        store.write_json(folder / name, content)
    store.write_text(folder / "README.md", _card(checkpoint))


def config_to_save(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """config.json for weights stored as `dtype`, without keys about where they came from."""
    kept = {key: value for key, value in config.items() if key not in LOADER_KEYS}
    return {**kept, "torch_dtype": dtype}


@dataclass(frozen=True)
class _Stored:
    """One weight to write, as files have it."""

    name: str
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    def bytes(self, itemsize: int) -> int:
        return math.prod(self.shape) * itemsize


def _stored(state: Mapping[str, torch.Tensor] | None, checkpoint: Checkpoint) -> list[_Stored]:
    """The weights in the order of the forward pass; a tied head is stored once. A `state` must have
    their names and shapes."""
    spec = spec_for(checkpoint.config)
    weights = list(spec.layout(spec.read(checkpoint.config)))
    if state is None:
        found = matched(checkpoint, spec, weights)
        return [_Stored(w.hf_name, w.stored_shape, found[w.path].load) for w in weights]
    for weight in weights:
        name = weight.hf_name
        if name not in state:
            raise WorkError(f"the model to save lacks the weight {name}", field=name)
        if tuple(state[name].shape) != weight.stored_shape:
            raise WorkError(
                f"the weight {name} has another shape than the configuration says",
                field=name,
                got=tuple(state[name].shape),
                expected=weight.stored_shape,
            )
    surplus = sorted(set(state) - {weight.hf_name for weight in weights})
    unknown = [name for name in surplus if not spec.ignores(name)]
    if unknown:
        raise WorkError(f"the model to save has an unknown weight {unknown[0]}", field=unknown[0])
    return [
        _Stored(w.hf_name, w.stored_shape, partial(state.__getitem__, w.hf_name)) for w in weights
    ]


def _write_weights(stored: list[_Stored], dtype: str, folder: Path, shard_bytes: int) -> None:
    """One shard in memory at a time."""
    import torch

    kind = getattr(torch, dtype)
    shards = list(_shards(stored, kind.itemsize, shard_bytes))
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for weight in shard:
            tensors[weight.name] = weight.load().detach().to("cpu", kind).contiguous()
            weight_map[weight.name] = file
        write_tensors(_unshared(tensors), folder / file)
    if len(shards) > 1:
        total = sum(weight.bytes(kind.itemsize) for weight in stored)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        store.write_json(folder / INDEX, index)


def _shards(stored: list[_Stored], itemsize: int, shard_bytes: int) -> Iterator[list[_Stored]]:
    shard: list[_Stored] = []
    size = 0
    for weight in stored:
        more = weight.bytes(itemsize)
        if shard and size + more > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(weight)
        size += more
    yield shard


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """safetensors refuses tensors that share memory: copy all but the first of each storage."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return result


def _generation(checkpoint: Checkpoint) -> dict[str, Any]:
    """The generation settings, with every token that ends an answer."""
    tokenizer = checkpoint.tokenizer
    ends = sorted(tokenizer.eos_ids)
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": tokenizer.pad_id,
    }
    settings = {**checkpoint.generation_config, **ids}
    settings.pop("transformers_version", None)
    return {key: value for key, value in settings.items() if value is not None}


def _card(checkpoint: Checkpoint) -> str:
    """A model card of what is known here; `tutelage run` writes the full one."""
    licence = f"license: {checkpoint.licence}\n" if checkpoint.licence else ""
    task = TASKS[spec_for(checkpoint.config).family]
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: {task}\n{licence}---\n"
        f"# Model\n\nWeights from `{checkpoint.source}`, saved by Tutelage.\n"
    )


def check_free(folder: Path) -> None:
    """Saving replaces a folder whole: only an empty one, or one saved before, may be replaced.
    Raises RequestError."""
    if folder.is_dir():
        taken = any(folder.iterdir()) and not (folder / store.MANIFEST).is_file()
    else:
        taken = folder.exists()
    if taken:
        raise RequestError(
            f"{folder} exists and is not a model folder saved by Tutelage",
            field="out",
            got=str(folder),
            hint="name a new folder",
        )
    store.check_place(folder)
