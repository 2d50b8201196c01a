"""The weights of one safetensors file: names, shapes and types at once, values when asked; and the
way such a file is written.

The library checks the header against the file's length. Torch is imported at the first load only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from tutelage.errors import SourceError, WorkError

if TYPE_CHECKING:
    import torch

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BUFFERS = {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
"""Types of positions and masks that older files hold beside the weights; never read."""


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
    path: Path

    @cached_property
    def tensors(self) -> Any:
        """The open file, for values as torch tensors."""
        return _open(self.path, "pt")


@dataclass(frozen=True)
class SafetensorsWeight:
    file: SafetensorsFile
    name: str
    shape: tuple[int, ...]
    dtype: str

    def load(self) -> torch.Tensor:
        """A copy: the library's tensor is a view of the mapped file, shared by every load."""
        if self.dtype in BUFFERS.values():
            raise _not_a_weight(self.file.path, self.name, self.dtype)
        try:
            tensor: torch.Tensor = self.file.tensors.get_tensor(self.name).clone()
        except (SafetensorError, OSError) as error:
            raise _fault(self.file.path, error) from None
        return tensor


def safetensors_weights(path: Path) -> dict[str, SafetensorsWeight]:
    """All weights of the file by name. Raises SourceError naming the file."""
    file = SafetensorsFile(path)
    weights = {}
    with _open(path, "np") as header:
        for name in header.keys():  # noqa: SIM118  not a mapping: it has no __iter__
            entry = header.get_slice(name)
            code = entry.get_dtype()
            dtype = {**DTYPES, **BUFFERS}.get(code)
            if dtype is None:
                raise _not_a_weight(path, name, code)
            weights[name] = SafetensorsWeight(file, name, tuple(entry.get_shape()), dtype)
    return weights


def _open(path: Path, framework: str) -> Any:
    try:
        return safe_open(str(path), framework=framework)
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
