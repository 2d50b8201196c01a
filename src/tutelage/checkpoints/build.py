"""From a checkpoint to a model: shapes checked before anything is allocated, then weights set."""

from __future__ import annotations

import torch

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.weights_hash import sample, weights_hash
from tutelage.errors import SourceError
from tutelage.machine.device import DTYPES
from tutelage.models.decoder import Decoder
from tutelage.models.spec import Weight, spec_for


def build(checkpoint: Checkpoint, dtype: str = "fp32", device: str = "cpu") -> Decoder:
    """The checkpoint's model with weights and activations in `dtype` on `device`.

    Raises SourceError naming the first weight that is missing or has another shape.
    """
    spec = spec_for(checkpoint.config)
    config = spec.read(checkpoint.config)
    weights = list(spec.layout(config))
    check_shapes(checkpoint, weights)
    with torch.device("meta"):
        model: Decoder = spec.build(config)
    kind = DTYPES[dtype]
    state, samples = {}, {}
    for weight in weights:
        reader = checkpoint.weights[weight.hf_name]
        state[weight.path], samples[weight.hf_name] = _loaded(reader, device, kind)
    model.load_state_dict(state, assign=True)
    model.compute = kind
    model.built_from = weights_hash(samples)
    return model.requires_grad_(False).eval()


def _loaded(reader: WeightReader, device: str, dtype: torch.dtype) -> tuple[torch.Tensor, bytes]:
    """One weight in its place, and its sample; as stored it is held no longer than this."""
    stored = reader.load()
    return stored.to(device=device, dtype=dtype), sample(stored)


def check_shapes(checkpoint: Checkpoint, weights: list[Weight]) -> None:
    """Hold what the file has against what the configuration promises."""
    for weight in weights:
        found = checkpoint.weights.get(weight.hf_name)
        if found is None:
            raise SourceError(
                f"{checkpoint.source} lacks a weight its configuration needs",
                field=weight.hf_name,
                expected=f"shape {list(weight.shape)}",
            )
        if tuple(found.shape) != weight.shape:
            raise SourceError(
                f"{checkpoint.source} has a weight of another shape than its configuration says",
                field=weight.hf_name,
                got=list(found.shape),
                expected=list(weight.shape),
            )


def hf_state(model: Decoder, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The model's weights under Hugging Face's names."""
    spec = spec_for(checkpoint.config)
    own = model.state_dict()
    return {w.hf_name: own[w.path] for w in spec.layout(spec.read(checkpoint.config))}
