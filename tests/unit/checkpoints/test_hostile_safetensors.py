"""Hostile safetensors headers: refused by the file's name, at no cost, wherever such files are
read: in a model's folder, in one of few bits, in an adapter's."""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints import tiny
from tutelage import store
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.quantized_save import write_quantized
from tutelage.errors import DamagedError, SourceError
from tutelage.nn.form import Form
from tutelage.peft.layout import CONFIG, WEIGHTS, read_tensors

HUGE = 2**63
MOST = 4_000_000
"""Bytes that refusing a file may take."""


def framed(header: bytes | Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def one(**changes: Any) -> dict[str, Any]:
    """A header of one weight of 16 bytes, changed; None leaves a key out."""
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return {"w": {key: value for key, value in entry.items() if value is not None}}


def two(first: list[int], second: list[int]) -> dict[str, Any]:
    spans = {"a": first, "b": second}
    return {
        name: {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}
        for name, (begin, end) in spans.items()
    }


DATA = b"\0" * 16
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "a header of 2^63 bytes": framed(one(), DATA, HUGE),
    "a header of 2^64-1 bytes": framed(one(), DATA, 2**64 - 1),
    "a header longer than the file": framed(one(), DATA, 10_000),
    "a header of 200 MB that is not there": framed(b"{}", b"", 200_000_000),
    "a header of nothing": framed(b"", DATA),
    "a header cut": framed(json.dumps(one()).encode()[:-9], DATA),
    "no JSON": framed(b"\x80\x02}q\x00." * 9, DATA),
    "no UTF-8": framed(b'{"\xff\xfe": 1}', DATA),
    "a list": framed([1, 2, 3], DATA),
    "a number": framed(b"7", DATA),
    "10,000 brackets": framed(b"[" * 10_000, DATA),
    "an entry that is text": framed({"w": "here"}, DATA),
    "no type": framed(one(dtype=None), DATA),
    "an unknown type": framed(one(dtype="F99"), DATA),
    "no shape": framed(one(shape=None), DATA),
    "a negative extent": framed(one(shape=[-2, -2]), DATA),
    "a fraction as extent": framed(one(shape=[1.5, 2]), DATA),
    "an overflowing shape": framed(one(shape=[2**32, 2**32, 4]), DATA),
    "an exabyte": framed(one(shape=[2**58, 4], data_offsets=[0, 2**62]), DATA),
    "no place": framed(one(data_offsets=None), DATA),
    "three offsets": framed(one(data_offsets=[0, 8, 16]), DATA),
    "offsets reversed": framed(one(data_offsets=[16, 0]), DATA),
    "a negative offset": framed(one(data_offsets=[-16, 0]), DATA),
    "past the end": framed(one(data_offsets=[16, 32]), DATA),
    "fewer bytes than the shape": framed(one(data_offsets=[0, 8]), DATA[:8]),
    "data cut": framed(one(), DATA[:-1]),
    "data too long": framed(one(), DATA + b"\0"),
    "overlapping": framed(two([0, 16], [8, 24]), b"\0" * 24),
    "a hole": framed(two([0, 8], [16, 24]), b"\0" * 24),
    "about the file in numbers": framed({"__metadata__": {"a": 1}, **one()}, DATA),
    "pickle": b"\x80\x04\x95" + b"\0" * 61,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("hostile")
    plain = tiny.save_tiny(top / "model")
    with store.new_folder(top / "few") as inside:
        write_quantized(open_checkpoint(str(plain)), inside, Form(4))
    (top / "few" / store.MANIFEST).unlink()
    return {"model": plain, "few": top / "few"}


@pytest.mark.parametrize("kind", ["model", "few"])
@pytest.mark.parametrize("name", HOSTILE)
def test_in_a_models_folder(name: str, kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / "bad")
    (folder / "model.safetensors").write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"model\.safetensors"):
            open_checkpoint(str(folder))
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_in_an_adapters_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("{}")
    (tmp_path / WEIGHTS).write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises((DamagedError, SourceError), match="adapter_model"):
            read_tensors(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


def test_a_header_of_the_same_make_is_read(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(framed(one(), DATA))
    (tmp_path / CONFIG).write_text("{}")
    assert read_tensors(tmp_path)["w"].shape == (2, 2)
    assert open_checkpoint(str(folders["few"])).weights
