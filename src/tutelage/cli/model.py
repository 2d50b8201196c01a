"""`tutelage model`: look at a model without building it, fetch it as an ordinary folder, merge
adapters into it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.model_adapters import combine, extract, merge, unmerge
from tutelage.cli.shared import Shared
from tutelage.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.models.spec import Shape, Weight


@dataclass(frozen=True)
class Described:
    """A model by its configuration alone: no weight is read."""

    source: str
    config: Mapping[str, Any]
    layout: list[Weight]
    shape: Shape
    family: str
    dtype: str
    bytes: int
    licence: str | None


def show(source: str, *, shared: Shared | None = None) -> dict[str, Any]:
    """Say what a model is: architecture, sizes, licence. Builds nothing.

    Parameters
    ----------
    source
        A model source: folder, FILE.gguf, pypi:, hf:, preset:.
    """
    from tutelage.plan.parameters import total

    found = describe(source)
    shape = found.shape
    return {
        "source": found.source,
        "architecture": (found.config.get("architectures") or [None])[0],
        "family": found.family,
        "parameters": total(found.layout),
        "layers": shape.layers + shape.encoder_layers,
        "width": shape.width,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "vocabulary": shape.vocabulary,
        "context": shape.context,
        "dtype": found.dtype,
        "bytes": found.bytes,
        "licence": found.licence,
    }


def pull(source: str, *, out: Path, shared: Shared | None = None) -> dict[str, Any]:
    """Fetch a model and write it as a Hugging Face folder, which any tool opens.

    Numbers are stored in --dtype, by default in the type that the model's configuration names.

    Parameters
    ----------
    source
        A model source: folder, FILE.gguf, pypi:, hf:, preset:.
    out
        The folder to write; it must not exist yet, or be an earlier one of ours.
    """
    from tutelage.checkpoints.save import save_folder
    from tutelage.machine.device import DTYPES

    shared = shared or Shared()
    kind = None if shared.dtype == "auto" else str(DTYPES[shared.dtype]).removeprefix("torch.")
    saved = save_folder(None, _whole(source, shared.seed or 0), out, dtype=kind)
    return {"out": str(saved.out), "bytes": saved.bytes, "sha256": saved.sha256}


def _whole(source: str, seed: int) -> Checkpoint:
    """The weights a source stands for, all of them. Raises RequestError for a run that recommends
    an adapter: a folder of its base alone would pass for the model."""
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.program import expect, program_of

    program = program_of(source)
    if program.adapter is not None:
        raise RequestError(
            f"{source} recommends an adapter on {program.base}, which is no model of its own",
            field="SOURCE",
            got=str(program.adapter),
            expected="a model with all its weights",
            hint="every verb opens the run itself; or pull its base",
        )
    checkpoint = open_checkpoint(source, seed=seed if program.seed is None else program.seed)
    expect(program.base, checkpoint.fingerprint, program.fingerprint)
    return checkpoint


def describe(source: str) -> Described:
    """Configuration, weight list and size of a model source. Raises SourceError."""
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.models.spec import layout, shape, spec_for

    checkpoint = open_checkpoint(source)
    return Described(
        source=checkpoint.source,
        config=checkpoint.config,
        layout=layout(checkpoint.config),
        shape=shape(checkpoint.config),
        family=spec_for(checkpoint.config).family,
        dtype=_dtype(checkpoint),
        bytes=checkpoint.bytes,
        licence=checkpoint.licence,
    )


def show_show(result: dict[str, Any]) -> None:
    """Print the model as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key, value in result.items():
        grouped = f"{value:,}" if isinstance(value, int) else value
        table.add_row(key, "unknown" if value is None else str(grouped))
    Console().print(table)


def show_pull(result: dict[str, Any]) -> None:
    print(f"{result['out']}: {result['bytes'] / 1e9:.3f} GB, sha256 {result['sha256']}")


def _dtype(checkpoint: Checkpoint) -> str:
    """The type most of the numbers are stored in; a quantized file's own name for it."""
    counts: Counter[str] = Counter()
    for reader in checkpoint.weights.values():
        size = 1
        for length in reader.shape:
            size *= length
        counts[str(getattr(reader, "stored", reader.dtype)).lower()] += size
    return counts.most_common(1)[0][0]


__all__ = [
    "combine",
    "describe",
    "extract",
    "merge",
    "pull",
    "show",
    "show_pull",
    "show_show",
    "unmerge",
]
