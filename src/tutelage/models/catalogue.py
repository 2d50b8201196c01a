"""Which architecture a config.json means, found by the name of its class.

    layout({"architectures": ["LlamaForCausalLM"], ...})      every weight of that model

Architectures are those of `architectures/`, one file each; a class with a task's head is found
through `headed.py`. Imports no tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from tutelage.errors import SourceError, UnknownName
from tutelage.models.fields import check_fields
from tutelage.models.headed import headed
from tutelage.models.spec import Shape, Spec, Weight
from tutelage.registry import Registry

ARCHITECTURES = Registry("tutelage.models.architectures", kind="architecture", attribute="SPEC")


def spec_for(config: Mapping[str, Any]) -> Spec:
    """The architecture of a Hugging Face config.json, whose values have been looked at. Raises
    SourceError naming what it found, ConfigError for a field with a value it cannot have."""
    check_fields(config)
    named = [str(name) for name in config.get("architectures") or []]
    specs = []
    for spec in _nearest(named[0] if named else ""):
        if any(name in spec.hf_architectures for name in named):
            return spec
        specs.append(spec)
    for spec in specs:
        with_head = headed(spec, config)
        if with_head is not None and with_head.hf_architectures[0] in named:
            return with_head
    known = sorted(name for spec in specs for name in spec.hf_architectures)
    raise SourceError(
        "this architecture is not supported",
        field="config.json: architectures",
        got=", ".join(named) or "none",
        expected="one of " + ", ".join(known),
    )


def layout(config: Mapping[str, Any]) -> list[Weight]:
    """Every weight of the model a config.json describes."""
    spec = spec_for(config)
    return list(spec.layout(spec.read(config)))


def shape(config: Mapping[str, Any]) -> Shape:
    """The sizes of the model a config.json describes."""
    spec = spec_for(config)
    return spec.shape(spec.read(config))


def find_preset(name: str) -> Mapping[str, Any]:
    """The config.json of a preset of any architecture. Raises UnknownName with a suggestion."""
    known: list[str] = []
    for spec in _nearest(name):
        if name in spec.presets:
            return spec.presets[name]
        known += spec.presets
    raise UnknownName("preset", name, known)


def _nearest(told: str) -> Iterator[Spec]:
    """All architectures, imported one by one, those first whose names begin as `told` does: a plan,
    which reads one, takes a tenth of a second less."""

    def alike(name: str) -> int:
        pairs = zip(name.replace("-", ""), told.lower(), strict=False)
        return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))

    for name in sorted(ARCHITECTURES.names(), key=alike, reverse=True):
        yield ARCHITECTURES.get(name)
