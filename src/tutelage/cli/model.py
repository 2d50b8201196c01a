"""`tutelage model`: look at a model without building it, fetch it as an ordinary folder, merge
adapters into it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutelage.cli.model_adapters import combine, extract, merge, short, stored_as, unmerge
from tutelage.cli.model_verify import verify
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError, RequestError

if TYPE_CHECKING:
    import torch

    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.checkpoints.program import Program
    from tutelage.checkpoints.shaped import Shaped


FLOATS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""Types of numbers by torch's names."""


@dataclass(frozen=True)
class Described:
    """A model as its files say: no weight is read."""

    model: Shaped
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
    model, shape = found.model, found.model.shape
    return {
        "source": model.source,
        "architecture": (model.config.get("architectures") or [None])[0],
        "family": model.family,
        "parameters": total(model.layout),
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

    Numbers are stored in --dtype, by default in the type that the model's configuration names. A
    run is written as what it recommends, its adapter merged into the weights, the very numbers that
    the run itself is served with in that type.

    Parameters
    ----------
    source
        A model source: folder, run, FILE.gguf, pypi:, hf:, preset:.
    out
        The folder to write; it must not exist yet, or be an earlier one of ours.
    """
    from tutelage.checkpoints.save import save_folder

    whole = whole_model(source, shared or Shared())
    saved = save_folder(None, whole.checkpoint, out, dtype=whole.dtype)
    return {
        "out": str(saved.out),
        "bytes": saved.bytes,
        "sha256": saved.sha256,
        "left_out": whole.left_out,
    }


def export(
    model: str,
    *,
    to: Literal["hf", "gguf"],
    out: Path,
    type: Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"] = "f16",
    pure: bool = False,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Write a model for other programs: a Hugging Face folder, or a GGUF file for llama.cpp.

    A GGUF file has the tokenizer, the chat template and the tokens that end an answer in it.

    Parameters
    ----------
    model
        A model source: folder, run, FILE.gguf, pypi:, hf:, preset:.
    to
        hf: a folder as `model pull` writes it; gguf: one file.
    out
        The folder or the file to write.
    type
        Of the matrices. q8_0, q4_0 and q4_1, of GGUF files alone, are 8 and 4 bits a weight, and
        q4_1 has a least number for each group of 32.
    pure
        Token table and head in 4 bits too where the blocks are, instead of in 8: smaller, faster,
        and farther from the model.
    """
    from tutelage import store
    from tutelage.checkpoints.save import save_folder

    if to == "hf" and type not in FLOATS:
        raise ConfigError(
            "a model folder holds no llama.cpp blocks", field="--type", got=type,
            expected="one of " + ", ".join(FLOATS), hint="--to gguf, or `quantize`",
        )  # fmt: skip
    if pure and type not in ("q4_0", "q4_1"):
        raise ConfigError(
            "only beside blocks in 4 bits are token table and head in another type", field="--pure",
            expected="--type q4_0 or q4_1",
        )  # fmt: skip
    if to == "gguf" and out.suffix != ".gguf":
        raise ConfigError(
            "a GGUF file is known by its name", field="--out", got=out, expected="FILE.gguf"
        )
    whole = whole_model(model, shared or Shared())
    if to == "hf":
        saved = save_folder(None, whole.checkpoint, out, dtype=FLOATS[type])
        return {"out": str(out), "bytes": saved.bytes, "sha256": saved.sha256,
                "type": type, "left_out": whole.left_out}  # fmt: skip
    from tutelage.checkpoints.gguf_save import save_gguf

    store.check_place(out, file=True)
    save_gguf(whole.checkpoint, out, type, pure)
    return {"out": str(out), "bytes": out.stat().st_size, "sha256": store.sha256(out),
            "type": type, "left_out": whole.left_out}  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """A model as one set of weights, what a run recommends merged in."""

    checkpoint: Checkpoint
    dtype: str
    """Torch's name of the type to store them in."""
    left_out: str | None
    """What is not in the weights, in words."""


def whole_model(source: str, shared: Shared) -> Whole:
    """Open a source for writing it elsewhere. Raises SourceError, GuardError for a base that has
    changed since the run, RequestError for an adapter that is no change of weights."""
    from tutelage.checkpoints.checkpoint import InMemory
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.program import expect, program_of

    program = program_of(source)
    checkpoint = open_checkpoint(source, seed=shared.seed or 0)
    expect(program.base, checkpoint.fingerprint, program.fingerprint)
    kind = stored_as(checkpoint, shared.dtype)
    if program.adapter is not None:
        state = _merged(source, program, shared.seed or 0, kind)
        checkpoint = replace(
            checkpoint,
            source=f"{checkpoint.source} with the adapter that {source} recommends",
            weights={name: InMemory(value) for name, value in state.items()},
        )
    return Whole(checkpoint, kind, _left_out(program))


def _merged(source: str, program: Program, seed: int, kind: str) -> dict[str, torch.Tensor]:
    """The weights with the adapter merged in, computed in the type they are stored in: the model
    that answers when the run itself is opened in it. Raises RequestError for an adapter that is no
    change of the weights."""
    from tutelage.backends.local import LocalLM
    from tutelage.checkpoints.build import hf_state
    from tutelage.peft.open import method_of, refuse_beside

    assert program.adapter is not None
    if method_of(program.adapter).merge is None:
        raise RequestError(
            f"{source} recommends an adapter that cannot be merged into the weights of "
            f"{program.base}",
            field="SOURCE",
            got=str(program.adapter),
            expected="an adapter that changes weights, as lora",
            hint=f"every verb opens the run itself; elsewhere put {program.adapter} on "
            f"{program.base}",
        )
    lm = LocalLM.open(
        program.base, adapter=program.adapter, fingerprint=program.fingerprint, device="cpu",
        dtype=short(kind), seed=seed if program.seed is None else program.seed,
    )  # fmt: skip
    refuse_beside(lm.model)
    return hf_state(lm.model, lm.checkpoint)


def _left_out(program: Program) -> str | None:
    """What a run recommends beside weights, which a model folder cannot hold."""
    if not program.messages:
        return None
    return (
        f"the {len(program.messages)} turns that the run shows before every conversation; without "
        "them the model answers otherwise than it was measured"
    )


def describe(source: str) -> Described:
    """Configuration, weight list and size of a model source. Raises SourceError."""
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.shaped import of_config

    checkpoint = open_checkpoint(source)
    return Described(
        model=of_config(checkpoint.source, checkpoint.config),
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


def show_export(result: dict[str, Any]) -> None:
    show_pull(result)


def show_pull(result: dict[str, Any]) -> None:
    print(f"{result['out']}: {result['bytes'] / 1e9:.3f} GB, sha256 {result['sha256']}")
    if result["left_out"]:
        print(f"left out: {result['left_out']}")


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
    "export",
    "extract",
    "merge",
    "pull",
    "show",
    "show_export",
    "show_pull",
    "show_show",
    "unmerge",
    "verify",
    "whole_model",
]
