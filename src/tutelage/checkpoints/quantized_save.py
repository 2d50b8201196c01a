"""Write a model in few bits: the folder that `quantized_file.py` reads, matrix by matrix.

Linear maps of the blocks in the form asked for; token tables and heads, by which every answer is
chosen, in a form of their own, 8 bits unless asked otherwise; norms and biases, which are few, as
they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.matched import matched
from tutelage.checkpoints.quantized_file import KEY, METHOD, MINIMUMS, NUMBERS, SCALES
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.checkpoints.save import config_to_save, write_beside
from tutelage.models.catalogue import spec_for
from tutelage.models.spec import Weight, is_linear

if TYPE_CHECKING:
    import torch

    from tutelage.nn.form import Form
    from tutelage.nn.quantized import Codes

TABLES = ("embed", "head")
"""Roles of the matrices beside the blocks."""


def form_of_weight(weight: Weight, form: Form, tables: Form) -> Form | None:
    """In which form a weight is written; None for one that stays as it is."""
    if is_linear(weight):
        return form
    return tables if len(weight.shape) == 2 and weight.role in TABLES else None


def write_quantized(
    checkpoint: Checkpoint, folder: Path, form: Form, tables: Form | None = None
) -> None:
    """The files of a model in few bits into a folder that the caller makes durable; `tables` is the
    form of token tables and heads, 8 bits if not given."""
    from tutelage.nn.form import Form

    tables = tables or Form(8, form.group)
    spec = spec_for(checkpoint.config)
    weights = list(spec.layout(spec.read(checkpoint.config)))
    readers = matched(checkpoint, spec, weights)
    tensors: dict[str, torch.Tensor] = {}
    for weight in weights:
        held = form_of_weight(weight, form, tables)
        if held is None:
            tensors[weight.hf_name] = readers[weight.path].load()
            continue
        codes = _codes(readers[weight.path], weight, held)
        tensors[f"{weight.hf_name}.{NUMBERS}"] = codes.numbers
        tensors[f"{weight.hf_name}.{SCALES}"] = codes.scales
        if codes.minimums is not None:
            tensors[f"{weight.hf_name}.{MINIMUMS}"] = codes.minimums
    write_beside(checkpoint, folder, quantized_config(checkpoint.config, form, tables))
    write_tensors(tensors, folder / "model.safetensors")


def quantized_config(config: Mapping[str, Any], form: Form, tables: Form) -> dict[str, Any]:
    """config.json, which says how the weights are held."""
    named = config.get("torch_dtype") or config.get("dtype") or "float32"
    about = {"quant_method": METHOD, **form.as_json(), "table_bits": tables.bits}
    return {**config_to_save(config, str(named)), KEY: about}


def _codes(reader: WeightReader, weight: Weight, form: Form) -> Codes:
    """What a checkpoint has in this very form already is kept, not rounded again."""
    from tutelage.nn.quantized import quantize

    few = getattr(reader, "codes", None)
    found: Codes | None = None if few is None else few()
    if found is not None and found.form == form:
        return found
    wide = reader.load()
    wide = wide.t() if weight.transposed else wide
    return quantize(wide.reshape(weight.shape), form)
