"""Adapters folded into the weights of their base, for a model folder of its own.

    attached(checkpoint, [Term(folder, 1.0)])      the base with the adapter beside it
    fold(model, method)                            ... and in it

Several adapters, or one with a weight, are summed first (`arithmetic.py`). The base is the one the
adapter saw: of few bits, where it was (`qlora.py`), and then made wide.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import ConfigError, RequestError
from tutelage.models.forward import Model
from tutelage.peft._method import Method
from tutelage.peft.arithmetic import combine
from tutelage.peft.open import form_of, merge, method_of, read_adapter, refuse_beside


@dataclass(frozen=True)
class Term:
    """An adapter and by how much it counts."""

    folder: Path
    weight: float = 1.0


def attached(checkpoint: Checkpoint, terms: Sequence[Term], dtype: str = "fp32") -> Model:
    """The checkpoint's model with the sum of the adapters beside its weights. Raises SourceError
    and DamagedError as `open.py`, ConfigError for none at all."""
    if not terms:
        raise ConfigError("no adapter was named", field="--adapter", expected="one or more")
    if len(terms) == 1 and terms[0].weight == 1:
        return _read(checkpoint, terms[0].folder, dtype)
    with tempfile.TemporaryDirectory() as scratch:
        total = Path(scratch) / "sum"
        combine([(term.folder, term.weight) for term in terms], total)
        return _read(checkpoint, total, dtype)


def _read(checkpoint: Checkpoint, folder: Path, dtype: str) -> Model:
    model: Model = build(checkpoint, dtype, form=form_of(folder))
    read_adapter(model, checkpoint, folder)
    return model


def mergeable(folder: Path) -> Method:
    """The method of an adapter that can be merged. Raises RequestError for another."""
    method = method_of(folder)
    if method.merge is None:
        raise RequestError(
            f"an adapter of {method.name} is no change of weights and cannot be merged",
            field="--adapter",
            got=str(folder),
            hint="generate and serve take it beside its base with --adapter",
        )
    return method


def fold(model: Model, method: Method) -> Model:
    """Merge what is attached: a plain model. Raises RequestError where something must stay beside
    its weights."""
    merge(model, method)
    refuse_beside(model)
    return model
