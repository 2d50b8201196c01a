"""`tutelage pretrain CONFIG.toml`: a model from nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tutelage.cli.shared import Shared, progress, stop_progress
from tutelage.errors import ConfigError

Json = dict[str, Any]


def pretrain(
    config: Path | None = None,
    *,
    depth: int | None = None,
    preset: str | None = None,
    data: tuple[str, ...] = (),
    minutes: float | None = None,
    out: Path | None = None,
    shared: Shared | None = None,
) -> Json:
    """Train a model from nothing on text, and measure it in bits per byte. Killed, it goes on.

    Parameters
    ----------
    config
        A file that describes the run (docs/pretraining.md); or --depth or --preset with --data.
    depth
        Layers of a LLaMA; all other sizes follow.
    preset
        A shape by its name, as gpt2.
    data
        Text: files, folders, hf:, builtin:, or token stores; may be given several times.
    minutes
        How long to train.
    out
        The folder to write; runs/NAME if not given.
    """
    shared = shared or Shared()
    from tutelage.lifecycle.raised import write_raised
    from tutelage.pretrain.run import pretrain as train

    found = _read(config, depth, preset, data, minutes, shared.seed)
    folder = out or Path("runs") / found.name
    try:
        record = train(
            found, folder, progress=progress(shared), note=_note,
            device=shared.device, dtype=shared.dtype, exact=shared.exact, threads=shared.threads,
        )  # fmt: skip
    finally:
        stop_progress()
    done = record["status"] == "done"
    return record | {"report": str(write_raised(record, folder)) if done else None}


def show(result: Json) -> None:
    """Print what was made and how good it is."""
    speed, mfu = result["tokens_per_second"], result["mfu"]
    print(f"{result['parameters']:,} parameters, {result['tokens']:,} tokens")
    if speed is not None:
        print(f"{speed:,.0f} tokens a second, {mfu:.0%} of the machine's matrix products")
    for key, unit in (
        ("bits_per_byte", "bits per byte"),
        ("held_out_loss", "nats per predicted token"),
    ):
        for name, found in result.get(key, {}).items():
            low, high = found["low"], found["high"]
            span = "" if low is None else f" ({low:.3f} to {high:.3f})"
            print(f"{name}: {found['value']:.3f}{span} {unit} on {found['n']} held-out documents")
    print(f"{result['seconds']:.0f} s; the model is in {result['model_folder']}")
    if result["report"] is not None:
        print(f"report  {result['report']}")


def _read(
    config: Path | None, depth: int | None, preset: str | None, data: tuple[str, ...],
    minutes: float | None, seed: int | None,
) -> Any:  # fmt: skip
    """The run described by a file or by options. Raises ConfigError."""
    from tutelage.config import load_toml, validate
    from tutelage.pretrain.config import PretrainConfig

    options = {"--depth": depth, "--preset": preset, "--data": data, "--minutes": minutes}
    given = [name for name, value in options.items() if value not in (None, ())]
    if config is not None:
        if given:
            raise ConfigError(
                "a file and options both describe the run", field=given[0], got=str(config),
                hint="write it into the file, or leave the file out",
            )  # fmt: skip
        found = load_toml(PretrainConfig, config)
        return found if seed is None else found.model_copy(update={"seed": seed})
    if not data:
        raise ConfigError("--data is missing", field="--data", expected="text to train on")
    shape = {"depth": depth, "preset": preset}
    named = {key: value for key, value in shape.items() if value is not None} or {"depth": 6}
    described = {
        "seed": seed or 0,
        "model": named,
        "data": {"train": {_name(one): one for one in data}},
        "training": {"minutes": minutes or 10.0},
    }
    return validate(PretrainConfig, described)


def _note(text: str) -> None:
    stop_progress()
    print(text, file=sys.stderr)


def _name(source: str) -> str:
    return Path(source.removeprefix("builtin:")).stem or source
