"""The GGUF container, read with suspicion: metadata, and where each tensor's bytes lie.

Every length is compared with what is left of the file before anything is allocated or looped over,
so a hostile header costs nothing (CVE-2026-7482, CVE-2026-33298 were such sizes believed). What the
numbers mean for a model is `gguf.py`. Layout: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from tutelage.errors import SourceError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LARGEST_RANK = 4
STRING, ARRAY = 8, 9
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
SMALLEST_ENTRY = 8 + 4 + 1
"""Bytes of a metadata entry or tensor description at the least: name's length, type, value."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file; `shape` is slowest dimension first, as numpy and torch have it."""

    shape: tuple[int, ...]
    type: GGMLQuantizationType
    start: int
    """Byte of the file."""
    bytes: int


@dataclass(frozen=True)
class GGUFFile:
    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def read(self, name: str) -> np.ndarray:
        """A tensor's values in float32, dequantized. Raises SourceError for a type without rule."""
        tensor = self.tensors[name]
        data = np.fromfile(self.path, np.uint8, tensor.bytes, offset=tensor.start)
        if data.size != tensor.bytes:
            raise _fault(self.path, f"tensor {name} is cut short", f"{data.size} bytes")
        if tensor.type == GGMLQuantizationType.F32:
            return data.view(np.float32).reshape(tensor.shape)
        if tensor.type == GGMLQuantizationType.F16:
            return data.view(np.float16).astype(np.float32).reshape(tensor.shape)
        block, size = GGML_QUANT_SIZES[tensor.type]
        rows = data.reshape(*tensor.shape[:-1], tensor.shape[-1] // block * size)
        try:
            return np.asarray(dequantize(rows, tensor.type), np.float32)
        except NotImplementedError:
            raise _fault(
                self.path, f"tensor {name} cannot be dequantized", tensor.type.name
            ) from None


def read_gguf(path: Path) -> GGUFFile:
    """Read and check the header. Raises SourceError naming the file and what is wrong with it."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _Header(path, data).parse()
    except (OSError, ValueError) as error:  # ValueError: mmap refuses an empty file
        raise _fault(path, f"cannot be read: {error}") from None


class _Header:
    """A cursor over the file's bytes that never goes past the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.at = 0

    def parse(self) -> GGUFFile:
        if self.data[:4] != MAGIC:
            raise _fault(self.path, "is not a GGUF file", repr(self.data[:4]), repr(MAGIC))
        self.at = 4
        version = self.scalar("I")
        if version not in VERSIONS:
            raise _fault(
                self.path, "has a version that cannot be read", version, "2 or 3, little-endian"
            )
        tensor_count, entry_count = self.scalar("Q"), self.scalar("Q")
        self.check_count(entry_count, SMALLEST_ENTRY, "metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self.string()
            if key in metadata:
                raise _fault(self.path, f"has {key!r} twice")
            metadata[key] = self.value(self.scalar("I"), key)
        self.check_count(tensor_count, SMALLEST_ENTRY, "tensors")
        described = [self.description() for _ in range(tensor_count)]
        return GGUFFile(self.path, metadata, self.place(described, self.alignment(metadata)))

    def take(self, count: int) -> int:
        """Move past `count` bytes and return where they start."""
        if count > len(self.data) - self.at:
            raise _fault(
                self.path,
                f"is cut short or malformed at byte {self.at}",
                f"{len(self.data) - self.at} bytes left",
                f"{count} bytes",
            )
        start = self.at
        self.at += count
        return start

    def check_count(self, count: int, smallest: int, what: str) -> None:
        if count * smallest > len(self.data) - self.at:
            raise _fault(self.path, f"claims more {what} than it has room for", count)

    def scalar(self, form: str) -> Any:
        return struct.unpack_from("<" + form, self.data, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        length = self.scalar("Q")
        start = self.take(length)
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError:
            raise _fault(self.path, f"has text that is no UTF-8 at byte {start}") from None

    def value(self, type: int, key: str) -> Any:
        if type in SCALARS:
            return self.scalar(SCALARS[type])
        if type == STRING:
            return self.string()
        if type != ARRAY:
            raise _fault(self.path, f"has a value of unknown type at {key!r}", type)
        element, count = self.scalar("I"), self.scalar("Q")
        if element == STRING:
            self.check_count(count, 8, f"texts in {key!r}")
            return [self.string() for _ in range(count)]
        if element not in SCALARS:
            raise _fault(self.path, f"has an array of unknown type at {key!r}", element)
        form = SCALARS[element]
        self.check_count(count, struct.calcsize(form), f"numbers in {key!r}")
        start = self.take(count * struct.calcsize(form))
        return list(struct.unpack_from(f"<{count}{form}", self.data, start))

    def description(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        """Name, shape, type and offset of one tensor, as the header tells them."""
        name, rank = self.string(), self.scalar("I")
        if not 1 <= rank <= LARGEST_RANK:
            raise _fault(self.path, f"tensor {name!r} has an impossible rank", rank, "1 to 4")
        shape = tuple(self.scalar("Q") for _ in range(rank))[::-1]
        code, offset = self.scalar("I"), self.scalar("Q")
        try:
            type = GGMLQuantizationType(code)
        except ValueError:
            raise _fault(self.path, f"tensor {name!r} has an unknown type", code) from None
        return name, shape, type, offset

    def alignment(self, metadata: Mapping[str, Any]) -> int:
        value = metadata.get("general.alignment", 32)
        if not isinstance(value, int) or value <= 0 or value & (value - 1) or value > 1 << 20:
            raise _fault(self.path, "has an impossible alignment", value, "a power of two")
        return value

    def place(self, described: list[Any], alignment: int) -> dict[str, Tensor]:
        """Where each tensor lies, checked against the file's length."""
        first = self.at + -self.at % alignment
        tensors: dict[str, Tensor] = {}
        for name, shape, type, offset in described:
            block, size = GGML_QUANT_SIZES[type]
            count = 1
            for extent in shape:
                count *= extent  # Python's integers do not overflow
            if count == 0 or shape[-1] % block:
                raise _fault(self.path, f"tensor {name!r} has an impossible shape", shape)
            tensor = Tensor(shape, type, first + offset, count // block * size)
            if offset % alignment:
                raise _fault(self.path, f"tensor {name!r} is misaligned", offset)
            if tensor.start + tensor.bytes > len(self.data):
                raise _fault(
                    self.path,
                    f"tensor {name!r} reaches past the end of the file",
                    f"{tensor.start + tensor.bytes} bytes",
                    f"at most {len(self.data)}",
                )
            if name in tensors:
                raise _fault(self.path, f"has the tensor {name!r} twice")
            tensors[name] = tensor
        return tensors


def _fault(path: Path, what: str, got: object = None, expected: object = None) -> SourceError:
    return SourceError(f"{path} {what}", field=str(path), got=got, expected=expected)
