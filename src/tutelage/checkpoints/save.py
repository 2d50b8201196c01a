"""Write a model as an ordinary Hugging Face folder, whole or not at all.

What transformers, or anything else that reads the layout, opens: configuration, safetensors (in
shards above 5 GB), tokenizer with its chat template, generation settings with the end tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.folder import INDEX
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import RequestError, WorkError

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5_000_000_000
LOADER_KEYS = ("dtype", "quantization_config", "_name_or_path", "auto_map", "transformers_version")
"""Keys of config.json that speak of how and where the weights were loaded from."""


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
    _check_free(folder)
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
    names = _names(state, checkpoint)
    store.write_json(folder / "config.json", config_to_save(checkpoint.config, dtype))
    store.write_json(folder / "generation_config.json", _generation(checkpoint))
    checkpoint.tokenizer.to_files(folder)
    store.write_text(folder / "README.md", _card(checkpoint))
    _write_weights(state, checkpoint, names, dtype, folder, shard_bytes)


def config_to_save(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """config.json for weights stored as `dtype`, without keys about where they came from."""
    kept = {key: value for key, value in config.items() if key not in LOADER_KEYS}
    return {**kept, "torch_dtype": dtype}


def _names(state: Mapping[str, torch.Tensor] | None, checkpoint: Checkpoint) -> list[str]:
    """The weights to store, in the checkpoint's order; a tied head is stored once."""
    names = list(checkpoint.weights)
    if checkpoint.config.get("tie_word_embeddings"):
        names = [name for name in names if name != "lm_head.weight"]
    if state is None:
        return names
    for name in names:
        if name not in state:
            raise WorkError(f"the model to save lacks the weight {name}", field=name)
        if tuple(state[name].shape) != tuple(checkpoint.weights[name].shape):
            raise WorkError(
                f"the weight {name} has another shape than the configuration says",
                field=name,
                got=tuple(state[name].shape),
                expected=tuple(checkpoint.weights[name].shape),
            )
    surplus = sorted(set(state) - set(names) - {"lm_head.weight"})
    if surplus:
        raise WorkError(f"the model to save has an unknown weight {surplus[0]}", field=surplus[0])
    return names


def _write_weights(
    state: Mapping[str, torch.Tensor] | None,
    checkpoint: Checkpoint,
    names: list[str],
    dtype: str,
    folder: Path,
    shard_bytes: int,
) -> None:
    """One shard in memory at a time."""
    import torch

    kind = getattr(torch, dtype)
    shards = list(_shards(checkpoint, names, kind.itemsize, shard_bytes))
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for name in shard:
            tensor = checkpoint.weights[name].load() if state is None else state[name]
            tensors[name] = tensor.detach().to("cpu", kind).contiguous()
            weight_map[name] = file
        write_tensors(_unshared(tensors), folder / file)
    if len(shards) > 1:
        total = sum(_bytes(checkpoint, name, kind.itemsize) for name in names)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        store.write_json(folder / INDEX, index)


def _shards(
    checkpoint: Checkpoint, names: list[str], itemsize: int, shard_bytes: int
) -> Iterator[list[str]]:
    shard: list[str] = []
    size = 0
    for name in names:
        more = _bytes(checkpoint, name, itemsize)
        if shard and size + more > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += more
    yield shard


def _bytes(checkpoint: Checkpoint, name: str, itemsize: int) -> int:
    total = itemsize
    for extent in checkpoint.weights[name].shape:
        total *= extent
    return total


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
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\n{licence}---\n"
        f"# Model\n\nWeights from `{checkpoint.source}`, saved by Tutelage.\n"
    )


def _check_free(folder: Path) -> None:
    """Saving replaces a folder whole: only an empty one, or one saved before, may be replaced."""
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
