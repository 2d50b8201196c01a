"""From a checkpoint to a model: names and shapes checked before anything is allocated."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.matched import matched
from tutelage.checkpoints.weights_hash import sample, sample_codes, weights_hash
from tutelage.machine.device import DTYPES
from tutelage.models.catalogue import spec_for
from tutelage.models.headed import TASK
from tutelage.models.spec import Weight, is_linear
from tutelage.nn.embedding import Embedding
from tutelage.nn.form import Form
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import Codes, QuantizedEmbedding, QuantizedLinear, quantize


def build(
    checkpoint: Checkpoint,
    dtype: str = "fp32",
    device: str = "cpu",
    form: Form | None = None,
    stored: bool = False,
) -> Any:
    """The checkpoint's model with weights and activations in `dtype` on `device`; with `form` the
    matrices of its blocks are held in few bits, each from the moment it was read; those that are
    stored in as few stay as they are.

    `stored`: matrices and token tables that the checkpoint has in few bits are used as they lie in
    the file, and nothing is made wide. An adapter's model is built without.

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
        codes = _codes(readers[weight.path], weight, form, stored)
        if codes is not None and _held(model, weight, codes.to(device), kind, stored):
            samples[weight.hf_name] = sample_codes(codes, weight.transposed)
            continue
        wide = readers[weight.path].load()  # held no longer than this, as it may be large
        if weight.role != TASK:  # a task's head is part of what is trained, not of what it is on
            samples[weight.hf_name] = sample(wide)
        value = wide.to(device=device, dtype=kind)
        value = value.t().contiguous() if weight.transposed else value
        value = value.reshape(weight.shape)
        narrow = None if form is None or not is_linear(weight) else quantize(value, form)
        if narrow is None or not _held(model, weight, narrow, kind, False):
            state[weight.path] = value
    _set(model, state)
    model.compute, model.form = kind, form
    model.built_from = weights_hash(samples)
    return model.requires_grad_(False).eval()


def _codes(reader: WeightReader, weight: Weight, form: Form | None, stored: bool) -> Codes | None:
    """What the checkpoint has in few bits, where it is to be used so."""
    few = getattr(reader, "codes", None)
    if few is None or not (stored or (form is not None and is_linear(weight))):
        return None
    found: Codes | None = few()
    if found is None or stored or form is None:
        return found
    return found if found.form.bits <= form.bits else None


def _held(model: nn.Module, weight: Weight, codes: Codes, kind: torch.dtype, tables: bool) -> bool:
    """Put a matrix in few bits in its place; False for one whose place takes none: in a linear map,
    and a token table where `tables` may be narrow."""
    path = weight.path.removesuffix(".weight")
    parent, _, name = path.rpartition(".")
    module = getattr(model.get_submodule(parent), name, None)
    if type(module) is Linear and (is_linear(weight) or tables):
        setattr(model.get_submodule(parent), name, QuantizedLinear(codes, module.role, module.bias))
        return True
    if type(module) is not Embedding or module.role != "embed" or not tables:
        return False
    table = QuantizedEmbedding(codes, module.role, kind)
    for place in [at for at, one in _everywhere(model) if one is module]:
        above, _, last = place.rpartition(".")
        setattr(model.get_submodule(above), last, table)
    return True


def _everywhere(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module by every path to it: a table may stand in two stacks."""
    return list(model.named_modules(remove_duplicate=False))


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
