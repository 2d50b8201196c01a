"""What every source of weights becomes: names, shapes and a way to load, in Hugging Face's terms.

Knows no file format and no architecture. Torch is imported only when a weight is loaded, so that
`model show` and `plan` look at any model without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tutelage import store
from tutelage.checkpoints.file_hash import file_hash
from tutelage.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch


class WeightReader(Protocol):
    """One weight: its shape and type are known, its values are read on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str:
        """Type of the loaded tensor, by torch's name: "float32", "bfloat16" ..."""
        ...

    def load(self) -> torch.Tensor:
        """The values, a fresh tensor on the CPU. Raises SourceError naming a damaged file."""
        ...


@dataclass(frozen=True)
class InMemory:
    """A weight that is there already, as files would have it."""

    value: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        return str(self.value.dtype).removeprefix("torch.")

    def load(self) -> torch.Tensor:
        return self.value.detach().to("cpu").clone()


@dataclass(frozen=True)
class Checkpoint:
    """A model before it is built: configuration, weights by Hugging Face name, tokenizer."""

    source: str
    """As the user wrote it, with the version or revision found."""
    config: Mapping[str, Any]
    """Hugging Face's config.json."""
    weights: Mapping[str, WeightReader]
    tokenizer: Tokenizer
    generation_config: Mapping[str, Any]
    licence: str | None
    bytes: int
    """Size of the weights as stored; for random weights, as they would be in their dtype."""
    files: tuple[Path, ...]
    """The weight files; empty for weights that are made, not read."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else the weights follow from, where there are no files: preset and seed."""
    sentence: Mapping[str, Any] = field(default_factory=dict)
    """Files of sentence-transformers by their names; {} where there are none (`sentence.py`)."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over configuration, tokenizer, and the bytes of all weight files."""
        return store.digest(
            {
                "config": dict(self.config),
                "tokenizer": [self.tokenizer.json, self.tokenizer.template],
                "end": sorted(self.tokenizer.eos_ids),
                "files": [[file.name, file_hash(file)] for file in self.files],
                "identity": dict(self.identity),
                **({"sentence": dict(self.sentence)} if self.sentence else {}),
            }
        )
