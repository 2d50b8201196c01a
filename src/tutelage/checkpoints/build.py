"""From a checkpoint to a model: names and shapes checked before anything is allocated."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.matched import matched
from tutelage.checkpoints.weights_hash import sample, weights_hash
from tutelage.machine.device import DTYPES
from tutelage.models.headed import TASK
from tutelage.models.spec import Weight, is_linear, spec_for
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import Form, QuantizedLinear


def build(
    checkpoint: Checkpoint, dtype: str = "fp32", device: str = "cpu", form: Form | None = None
) -> Any:
    """The checkpoint's model with weights and activations in `dtype` on `device`; with `form` the
    matrices of its blocks are held in few bits, each from the moment it was read.

    Raises SourceError naming the first weight that is missing, has another shape, or has no place
    in the architecture.
    """
    spec = spec_for(checkpoint.config)
    config = spec.read(checkpoint.config)
    weights = list(spec.layout(config))
    readers = matched(checkpoint, spec, weights)
    with torch.device("meta"):
        model = spec.build(config)
    kind = DTYPES[dtype]
    state, samples = {}, {}
    for weight in weights:
        stored = readers[weight.path].load()  # held no longer than this, as it may be large
        if weight.role != TASK:  # a task's head is part of what is trained, not of what it is on
            samples[weight.hf_name] = sample(stored)
        value = stored.to(device=device, dtype=kind)
        value = value.t().contiguous() if weight.transposed else value
        value = value.reshape(weight.shape)
        if form is None or not _narrowed(model, weight, value, form):
            state[weight.path] = value
    _set(model, state)
    model.compute, model.form = kind, form
    model.built_from = weights_hash(samples)
    return model.requires_grad_(False).eval()


def _narrowed(model: nn.Module, weight: Weight, value: torch.Tensor, form: Form) -> bool:
    """Put a linear map of the blocks in its place in few bits; False if it is none."""
    if not is_linear(weight):
        return False
    parent, _, name = weight.path.removesuffix(".weight").rpartition(".")
    linear = getattr(model.get_submodule(parent), name, None)
    if not isinstance(linear, Linear):
        return False
    setattr(model.get_submodule(parent), name, QuantizedLinear.of(linear, value, form))
    return True


def hf_state(model: nn.Module, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The model's weights as files have them, under Hugging Face's names."""
    spec = spec_for(checkpoint.config)
    own = model.state_dict()
    weights = spec.layout(spec.read(checkpoint.config))
    return {
        w.hf_name: (own[w.path].t() if w.transposed else own[w.path]).reshape(w.stored_shape)
        for w in weights
    }


def _set(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put the values in. A module that stands in two places is named once in the state."""
    model.load_state_dict(state, assign=True, strict=False)
    placed = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    unset = [name for name, value in placed.items() if value.is_meta]
    assert not unset, f"the layout lacks {unset[0]}"
    assert set(placed) >= set(state), f"the module lacks {sorted(set(state) - set(placed))[0]}"
