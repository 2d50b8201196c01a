"""What an architecture file must say of itself, and how a configuration finds its architecture.

Knows no tensors: counting and planning work from a SPEC without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.errors import SourceError, UnknownName
from tutelage.registry import Registry

Family = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Weight:
    """One weight: our module path, Hugging Face's name, shape, role, and layer if it has one."""

    path: str
    hf_name: str
    shape: tuple[int, ...]
    role: str
    layer: int | None = None

    @property
    def count(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Spec:
    """An architecture: how its configuration is read, which weights it has, how it is built.

    `read` turns Hugging Face's config.json into the architecture's own frozen configuration and
    raises ConfigError for what it cannot honour; `layout` lists every stored weight once (a tied
    head is not listed); `build` makes the module, uninitialized, importing torch only then.
    """

    name: str
    family: Family
    hf_architectures: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    layout: Callable[[Any], Iterator[Weight]]
    build: Callable[[Any], Any]
    presets: Mapping[str, Mapping[str, Any]]


ARCHITECTURES = Registry("tutelage.models.architectures", kind="architecture", attribute="SPEC")


def spec_for(config: Mapping[str, Any]) -> Spec:
    """The architecture of a Hugging Face config.json. Raises SourceError naming what it found."""
    named = list(config.get("architectures") or [])
    specs = [ARCHITECTURES.get(name) for name in ARCHITECTURES.names()]
    for spec in specs:
        if any(name in spec.hf_architectures for name in named):
            return spec
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


def find_preset(name: str) -> Mapping[str, Any]:
    """The config.json of a preset of any architecture. Raises UnknownName with a suggestion."""
    known: dict[str, Mapping[str, Any]] = {}
    for architecture in ARCHITECTURES.names():
        known.update(ARCHITECTURES.get(architecture).presets)
    if name not in known:
        raise UnknownName("preset", name, known)
    return known[name]
