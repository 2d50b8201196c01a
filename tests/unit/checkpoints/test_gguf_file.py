"""Malformed GGUF files: refused by name, at no cost, never less strictly than the library."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.gguf_file import read_gguf
from tutelage.errors import SourceError

HUGE = 2**63
U32, U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack


def text(value: str | bytes, length: int | None = None) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return U64(len(data) if length is None else length) + data


def head(tensors: int = 0, entries: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + U32(version) + U64(tensors) + U64(entries)


def tensor(
    name: str = "t", shape: tuple[int, ...] = (32,), type: int = 0, offset: int = 0
) -> bytes:
    extents = b"".join(U64(n) for n in shape)
    return text(name) + U32(len(shape)) + extents + U32(type) + U64(offset)


def padded(data: bytes, values: int = 128) -> bytes:
    return data + b"\0" * (-len(data) % 32) + b"\0" * values


MALFORMED = {
    "empty": b"",
    "magic only": b"GGUF",
    "other magic": head(magic=b"GGML") + b"\0" * 64,
    "version 0": head(version=0) + b"\0" * 64,
    "version 1": head(version=1) + b"\0" * 64,
    "version 99": head(version=99) + b"\0" * 64,
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + b"\0" * 64,
    "huge entry count": head(entries=HUGE),
    "huge tensor count": head(tensors=HUGE),
    "largest counts": head(2**64 - 1, 2**64 - 1),
    "entries missing": head(entries=1),
    "key too long": head(entries=1) + text("k", 2**64 - 1) + b"\0" * 64,
    "key cut": head(entries=1) + text("key", 100),
    "key no UTF-8": head(entries=1) + text(b"\xff\xfe") + U32(4) + U32(1) + b"\0" * 32,
    "unknown value type": head(entries=1) + text("k") + U32(77) + b"\0" * 64,
    "value cut": head(entries=1) + text("k" * 20) + U32(10) + b"\0" * 3,
    "string too long": head(entries=1) + text("k") + U32(8) + U64(2**62) + b"\0" * 64,
    "duplicate key": head(entries=2) + (text("k") + U32(4) + U32(1)) * 2 + b"\0" * 32,
    "huge byte array": head(entries=1) + text("k") + U32(9) + U32(0) + U64(HUGE) + b"\0" * 64,
    "huge text array": head(entries=1) + text("k") + U32(9) + U32(8) + U64(HUGE) + b"\0" * 64,
    "overflowing array": head(entries=1) + text("k") + U32(9) + U32(10) + U64(2**61) + b"\0" * 64,
    "nested arrays": head(entries=1) + text("k") + (U32(9) + U32(9) + U64(1)) * 8 + b"\0" * 64,
    "array of unknown": head(entries=1) + text("k") + U32(9) + U32(50) + U64(1) + b"\0" * 64,
    "alignment 13": padded(head(1, 1) + text("general.alignment") + U32(4) + U32(13) + tensor()),
    "alignment 0": padded(head(1, 1) + text("general.alignment") + U32(4) + U32(0) + tensor()),
    "alignment text": padded(
        head(1, 1) + text("general.alignment") + U32(8) + text("x") + tensor()
    ),
    "tensor past the end": padded(head(1) + tensor(shape=(1024,))),
    "tensor far away": padded(head(1) + tensor(offset=2**40)),
    "tensor wraps around": padded(head(1) + tensor(offset=2**64 - 32)),
    "exabyte tensor": padded(head(1) + tensor(shape=(2**30, 2**30))),
    "overflowing shape": padded(head(1) + tensor(shape=(2**32, 2**32, 2**32, 32))),
    "rank 0": padded(head(1) + tensor(shape=())),
    "rank 5": padded(head(1) + tensor(shape=(1,) * 5)),
    "rank 2^32-1": padded(head(1) + text("t") + U32(2**32 - 1)),
    "extent 0": padded(head(1) + tensor(shape=(32, 0))),
    "unknown type": padded(head(1) + tensor(type=999)),
    "misaligned": padded(head(1) + tensor(shape=(8,), offset=4)),
    "rows not whole blocks": padded(head(1) + tensor(shape=(33,), type=8)),
    "duplicate tensor": padded(head(2) + tensor() * 2),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_by_name_and_cheaply(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(MALFORMED[name])
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"bad\.gguf") as caught:
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.field == str(path)


def test_a_well_formed_file_of_the_same_make_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(padded(head(1, 1) + text("k") + U32(9) + U32(0) + U64(2) + b"\1\2" + tensor()))
    file = read_gguf(path)
    assert file.metadata == {"k": [1, 2]}
    np.testing.assert_array_equal(file.read("t"), np.zeros(32, np.float32))


def test_metadata_and_places_equal_the_librarys(tmp_path: Path) -> None:
    path = tiny.write_gguf(tmp_path / "tiny.gguf", tiny.tiny_llama(), **{"general.flag": True})
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    expected = {k: f.contents() for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert ours.metadata == expected
    assert {name: (t.start, t.bytes) for name, t in ours.tensors.items()} == {
        t.name: (t.data_offset, t.n_bytes) for t in theirs.tensors
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "tiny.gguf"
    return tiny.write_gguf(path, tiny.tiny_llama(num_hidden_layers=1)).read_bytes()


def opened(data: bytes, folder: Path) -> None:
    """Open and read everything; only a SourceError may come out."""
    path = folder / "changed.gguf"
    path.write_bytes(data)
    try:
        checkpoint = gguf_checkpoint(path)
        for weight in checkpoint.weights.values():
            weight.load()
    except SourceError:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@given(data=st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("change", ["flip", "cut", "number"])
def test_changed_files_raise_source_errors_only(
    whole: bytes, folder: Path, change: str, data: st.DataObject
) -> None:
    header = len(whole) // 2
    at = data.draw(st.integers(0, header))
    changes: dict[str, Callable[[], bytes]] = {
        "flip": lambda: (
            whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
        ),
        "cut": lambda: whole[:at],
        "number": lambda: (
            whole[:at]
            + U64(data.draw(st.sampled_from([0, 1, 2**31, 2**32, HUGE, 2**64 - 1])))
            + whole[at + 8 :]
        ),
    }
    opened(changes[change](), folder)
