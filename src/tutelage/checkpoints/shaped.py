"""A model by its configuration alone, for those who only count: no weight is opened, and neither
is a tokenizer where the configuration is a file of its own, which a plan has no time for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.checkpoints.program import program_of
from tutelage.checkpoints.source import parse
from tutelage.models.catalogue import find_preset, spec_for
from tutelage.models.spec import Family, Shape, Weight


@dataclass(frozen=True)
class Shaped:
    """What follows from config.json. `layout` is every weight of the model."""

    source: str
    config: Mapping[str, Any]
    layout: list[Weight]
    shape: Shape
    family: Family


def shaped(source: str) -> Shaped:
    """The shape of any source that has weights. Raises SourceError, ConfigError, UnknownName."""
    return of_config(*_configuration(source))


def of_config(source: str, config: Mapping[str, Any]) -> Shaped:
    """The same of a configuration at hand; `source` is what it is called."""
    spec = spec_for(config)
    settings = spec.read(config)
    return Shaped(source, config, list(spec.layout(settings)), spec.shape(settings), spec.family)


def _configuration(source: str) -> tuple[str, Mapping[str, Any]]:
    """What a source is called, with the version that was found, and its config.json."""
    found = parse(program_of(source).base)
    if found.kind == "preset":
        return found.text, find_preset(found.preset or "")
    if found.kind in ("folder", "run"):
        from tutelage.checkpoints.folder import ModelFolder

        return found.text, ModelFolder(found.located).config()
    from tutelage.checkpoints.open import open_checkpoint

    checkpoint = open_checkpoint(source)
    return checkpoint.source, checkpoint.config
