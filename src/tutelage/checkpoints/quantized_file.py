"""Weights in few bits in a model folder: three tensors in the place of one, read by memory map.

    NAME.numbers, NAME.scales, NAME.minimums      in the layout of `nn/quantized.py`, to the byte
    config.json: quantization_config              {"quant_method": "tutelage", "bits", "group", ...}

NAME is Hugging Face's name of the weight. Groups run along a linear map's input, whichever way the
wide weight would be stored. Tensors may be in any form by themselves: the file tells, not the
configuration, which says for people and other programs what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.checkpoints.checkpoint import WeightReader
from tutelage.checkpoints.safetensors_file import SafetensorsWeight
from tutelage.errors import SourceError
from tutelage.models.catalogue import spec_for
from tutelage.models.spec import Weight

if TYPE_CHECKING:
    import torch

    from tutelage.nn.quantized import Codes

KEY, METHOD = "quantization_config", "tutelage"
NUMBERS, SCALES, MINIMUMS = "numbers", "scales", "minimums"
PARTS = (NUMBERS, SCALES, MINIMUMS)


@dataclass(frozen=True)
class CodesWeight:
    """A matrix in few bits; `shape` is the wide one's in files, [in, out] if `transposed`."""

    numbers: SafetensorsWeight
    scales: SafetensorsWeight
    minimums: SafetensorsWeight | None
    shape: tuple[int, ...]
    transposed: bool
    dtype: str = "float32"

    @property
    def stored(self) -> str:
        """How the file holds it."""
        return "4 bits" if self.numbers.dtype == "uint8" else "8 bits"

    def codes(self) -> Codes:
        """Its numbers where they lie in the file, [out, in]. Raises SourceError."""
        from tutelage.nn.quantized import Codes

        minimums = None if self.minimums is None else self.minimums.mapped()
        columns = self.shape[0] if self.transposed else self.shape[1]
        return Codes(self.numbers.mapped(), self.scales.mapped(), columns, minimums)

    def load(self) -> torch.Tensor:
        """The wide matrix as files have it, in memory of its own. Raises SourceError."""
        import torch

        wide = self.codes().weight(torch.float32)
        return wide.t().contiguous() if self.transposed else wide


def is_quantized(config: Mapping[str, Any]) -> bool:
    """Whether a folder's weights are in few bits in the way that is read here."""
    said = config.get(KEY)
    return isinstance(said, dict) and said.get("quant_method") == METHOD


def quantized_weights(
    config: Mapping[str, Any], found: Mapping[str, SafetensorsWeight], where: str
) -> dict[str, WeightReader]:
    """The weights of a folder by Hugging Face's names, three tensors made one. Raises SourceError
    naming a tensor that is missing, or is not what the configuration lets expect."""
    spec = spec_for(config)
    known = {w.hf_name: w for w in spec.layout(spec.read(config))}
    weights: dict[str, WeightReader] = {}
    for name, reader in found.items():
        stem, _, part = name.rpartition(".")
        if part not in PARTS:
            weights[name] = reader
        elif stem not in known:
            raise _fault(where, name, "nothing of this name", "a weight of the architecture")
        elif part == NUMBERS:
            parts = {one: found.get(f"{stem}.{one}") for one in PARTS}
            weights[stem] = _weight(known[stem], parts, where)
        elif f"{stem}.{NUMBERS}" not in found:
            raise _fault(where, name, "no numbers beside it", f"{stem}.{NUMBERS}")
    return weights


def _weight(
    weight: Weight, parts: Mapping[str, SafetensorsWeight | None], where: str
) -> CodesWeight:
    """Its tensors held against each other and against the architecture."""
    numbers, scales, minimums = (parts[one] for one in PARTS)
    name = weight.hf_name
    if numbers is None or scales is None:
        raise _fault(where, f"{name}.{SCALES}", "nothing", "a scale of each group")
    if len(weight.shape) != 2:
        raise _fault(where, name, "few bits", f"a matrix, not {list(weight.shape)}")
    if numbers.dtype not in ("int8", "uint8"):
        raise _fault(where, numbers.name, numbers.dtype, "int8 (8 bits) or uint8 (4 bits)")
    (rows, columns), got = weight.shape, numbers.shape
    group = got[-1] * (2 if numbers.dtype == "uint8" else 1) if got else 0
    if len(got) != 3 or group < 2 or got[:2] != (rows, -(-columns // group)):
        raise _fault(where, numbers.name, list(got), f"groups of {rows} rows of {columns}")
    for one in (scales, minimums):
        if one is not None and (one.dtype, one.shape) != ("float16", (*got[:2], 1)):
            expected = f"float16 {[*got[:2], 1]}"
            raise _fault(where, one.name, f"{one.dtype} {list(one.shape)}", expected)
    if minimums is not None and numbers.dtype != "uint8":
        raise _fault(where, minimums.name, "minimums of 8 bits", "minimums of 4 bits alone")
    return CodesWeight(numbers, scales, minimums, weight.stored_shape, weight.transposed)


def _fault(where: str, name: str, got: object, expected: object) -> SourceError:
    return SourceError(
        f"{where} cannot be opened as weights in few bits: {name}",
        field=name,
        got=got,
        expected=expected,
    )
