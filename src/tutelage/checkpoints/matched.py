"""Which weight of a file is which weight of the architecture, whatever the file calls it."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.errors import SourceError
from tutelage.models.spec import Spec, Weight


def matched(
    checkpoint: Checkpoint, spec: Spec, weights: Sequence[Weight]
) -> dict[str, WeightReader]:
    """What the file has for each of our paths, held against what the configuration promises."""
    found: dict[str, WeightReader] = {}
    used: set[str] = set()
    for weight in weights:
        name = next((name for name in spec.names(weight) if name in checkpoint.weights), None)
        if name is None:
            raise SourceError(
                f"{checkpoint.source} lacks a weight its configuration needs",
                field=weight.hf_name,
                expected=f"shape {list(weight.stored_shape)}",
            )
        reader = checkpoint.weights[name]
        if tuple(reader.shape) != weight.stored_shape:
            raise SourceError(
                f"{checkpoint.source} has a weight of another shape than its configuration says",
                field=name,
                got=list(reader.shape),
                expected=list(weight.stored_shape),
            )
        found[weight.path] = reader
        used.update(spec.names(weight))
    for name in checkpoint.weights:
        if name not in used and not spec.ignores(name):
            raise SourceError(
                f"{checkpoint.source} has a weight its architecture has no place for",
                field=name,
                got=list(checkpoint.weights[name].shape),
                expected=f"the weights of {spec.name}, as its configuration describes them",
            )
    return found
