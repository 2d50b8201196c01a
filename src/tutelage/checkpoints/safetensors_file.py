"""The weights of one safetensors file: names, shapes and types at once, values when asked; and the
way such a file is written.

Torch is imported at the first load only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from tutelage.errors import SourceError, WorkError

if TYPE_CHECKING:
    import numpy as np
    import torch

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BUFFERS = {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
"""Types of positions and masks that older files hold beside the weights; never read."""
CODES = {"I8": "int8", "U8": "uint8"}
"""Types of the numbers of weights in few bits, which are mapped."""


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a file that everyone may read. Raises WorkError naming it (disk full, read-only)."""
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
        path.chmod(0o644)  # the library leaves it private
    except (SafetensorError, OSError) as error:
        raise WorkError(f"cannot write {path}: {error}", field=str(path)) from error


@dataclass(frozen=True)
class SafetensorsFile:
    """A file whose values are read: a mapped file would stay in the memory of the process, beside
    its values, for as long as anything knows it. What is used as it lies there is mapped."""

    path: Path

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Where each weight begins, and how many bytes it has."""
        with self.path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        spans = {name: it["data_offsets"] for name, it in header.items() if name != "__metadata__"}
        return {name: (8 + size + begin, end - begin) for name, (begin, end) in spans.items()}

    def read_into(self, name: str, values: np.ndarray) -> None:
        """Fill `values`, bytes, with the weight's. Raises OSError for a file cut short since it
        was opened."""
        begin, count = self.places[name]
        with self.path.open("rb") as file:
            file.seek(begin)
            found = file.readinto(values.data)
        if found != count:
            raise OSError(f"{name} ends after {found} of {count} bytes")

    def mapped(self, name: str) -> np.ndarray:
        """The weight's bytes where they lie; writing to them changes a copy. Raises OSError,
        ValueError for a file cut short since it was opened."""
        import numpy as np

        begin, count = self.places[name]
        return np.memmap(self.path, np.uint8, mode="c", offset=begin, shape=(count,))


@dataclass(frozen=True)
class SafetensorsWeight:
    file: SafetensorsFile
    name: str
    shape: tuple[int, ...]
    dtype: str

    def load(self) -> torch.Tensor:
        """The values, in memory of their own."""
        import torch

        if self.dtype not in DTYPES.values():
            raise _not_a_weight(self.file.path, self.name, self.dtype)
        tensor = torch.empty(self.shape, dtype=getattr(torch, self.dtype))
        if tensor.numel() == 0:
            return tensor
        try:
            self.file.read_into(self.name, tensor.view(-1).view(torch.uint8).numpy())
        except (OSError, ValueError, KeyError) as error:
            raise _fault(self.file.path, error) from None
        return tensor

    def mapped(self) -> torch.Tensor:
        """The values where they lie in the file, read from it when used. Raises SourceError."""
        import torch

        kind = getattr(torch, self.dtype)
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=kind)
        try:
            raw = torch.from_numpy(self.file.mapped(self.name))
        except (OSError, ValueError, KeyError) as error:
            raise _fault(self.file.path, error) from None
        begins_odd = raw.data_ptr() % kind.itemsize
        return (raw.clone() if begins_odd else raw).view(kind).view(self.shape)


def safetensors_weights(path: Path, few_bits: bool = False) -> dict[str, SafetensorsWeight]:
    """All weights of the file by name; `few_bits` if they may be. Raises SourceError naming the
    file."""
    file, known = SafetensorsFile(path), {**DTYPES, **BUFFERS, **(CODES if few_bits else {})}
    weights = {}
    with _opened(path) as header:
        for name in header.keys():  # noqa: SIM118  not a mapping: it has no __iter__
            entry = header.get_slice(name)
            code = entry.get_dtype()
            dtype = known.get(code)
            if dtype is None:
                raise _not_a_weight(path, name, code)
            weights[name] = SafetensorsWeight(file, name, tuple(entry.get_shape()), dtype)
    return weights


def _opened(path: Path) -> Any:
    """The file, by the library, which checks the header against the file's length."""
    try:
        return safe_open(str(path), framework="np")
    except (SafetensorError, OSError) as error:
        raise _fault(path, error) from None


def _not_a_weight(path: Path, name: str, got: str) -> SourceError:
    return SourceError(
        f"{path}: the weight {name} has a type that cannot be opened",
        field=name,
        got=got,
        expected=", ".join(DTYPES),
    )


def _fault(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} is not a readable safetensors file: {error}",
        field=str(path),
        hint="it may be cut short: fetch it again",
    )
