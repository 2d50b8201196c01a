"""Sums of LoRA adapters: added, subtracted, weighted. The sum is a LoRA adapter again.

    w1 s1 B1 A1 + w2 s2 B2 A2 = [w1 s1 B1, w2 s2 B2] [A1; A2]

    combine([(first, 1.0), (second, -0.5)], out)

Exact, its rank the sum of theirs: nothing is decomposed and cut. Source of the idea: Ilharco et al.
2023, arXiv:2212.04089, section 2 (task arithmetic), there on whole models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage import store
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import ConfigError, SourceError
from tutelage.peft._low_rank_file import ANY_VALUE, HONOURED, A, B, scale_in
from tutelage.peft.layout import (
    BASE,
    CONFIG,
    WEIGHTS,
    Base,
    by_module,
    made_on_of,
    opened_alone,
    other_shape,
    read_tensors,
    tensor_name,
)

Modules = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class _Term:
    folder: Path
    weight: float
    config: Mapping[str, Any]
    modules: Modules

    @property
    def rank(self) -> int:
        return max(len(parts[A]) for parts in self.modules.values())

    def part(self, stem: str, like: Tensor, which: str) -> Tensor:
        """A, or w s B, filled up with zeros to the term's rank; zeros for a module it leaves
        alone. `like` has the part's width."""
        wide = like.shape[1] if which == A else like.shape[0]
        found = torch.zeros(self.rank, wide) if which == A else torch.zeros(wide, self.rank)
        if stem not in self.modules:
            return found
        parts = self.modules[stem]
        rank = len(parts[A])
        factor = 1.0 if which == A else self.weight * scale_in(self.config, rank, self.folder, stem)
        value = factor * parts[which].float()
        fits = (rank, wide) if which == A else (wide, rank)
        if tuple(value.shape) != fits:
            raise other_shape(self.folder, stem, str(list(value.shape)), str(list(fits)))
        if which == A:
            found[:rank] = value
        else:
            found[:, :rank] = value
        return found


def combine(adapters: Sequence[tuple[Path, float]], out: Path) -> None:
    """Write the weighted sum of LoRA adapters of one base as an adapter; all or nothing.

    Raises SourceError for adapters of other kinds or bases, ConfigError for weights that are no
    numbers or none at all."""
    for _, weight in adapters:
        if not math.isfinite(weight):
            raise ConfigError("a weight must be a number", field="weight", got=weight)
    if not adapters:
        raise ConfigError("there is nothing to add up", field="adapters", expected="one or more")
    terms = [_term(folder, weight) for folder, weight in adapters]
    made_on = _one_base([term.folder for term in terms])
    shapes = {stem: parts for term in reversed(terms) for stem, parts in term.modules.items()}
    tensors = {}
    for stem, like in shapes.items():
        down = [term.part(stem, like[A], A) for term in terms]
        up = [term.part(stem, like[B], B) for term in terms]
        tensors[tensor_name(stem, A)] = torch.cat(down)
        tensors[tensor_name(stem, B)] = torch.cat(up, dim=1)
    rank = sum(term.rank for term in terms)
    config = {
        **terms[0].config,
        "r": rank,
        "lora_alpha": rank,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "layers_to_transform": None,
        "target_modules": sorted(shapes),
    }
    with store.new_folder(out) as inside:
        write_tensors(tensors, inside / WEIGHTS)
        store.write_json(inside / CONFIG, config)
        if made_on is not None:
            store.write_json(inside / BASE, made_on.as_json())


def _term(folder: Path, weight: float) -> _Term:
    config = opened_alone(folder, "LORA", HONOURED, ANY_VALUE)
    return _Term(folder, weight, config, by_module(read_tensors(folder), (A, B), folder))


def _one_base(folders: Sequence[Path]) -> Base | None:
    """What they were made on, None if none of them says; raises SourceError if they differ in their
    weights, the bits these were held in, or the chat template."""
    said = [(folder, base) for folder in folders if (base := made_on_of(folder)) is not None]
    for folder, base in said[1:]:
        first = said[0][1]
        for what, got, expected in (
            ("two models", base.weights, first.weights),
            ("one model held in different bits", base.form, first.form),
            ("two chat templates", base.template, first.template),
        ):
            if got != expected:
                raise SourceError(
                    f"adapters of {what} cannot be added up",
                    field=str(folder / BASE),
                    got=f"{base}, {base.held}",
                    expected=f"{first}, {first.held}",
                )
    return said[0][1] if said else None
