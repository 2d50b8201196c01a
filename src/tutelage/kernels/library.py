"""The C structures of the C++ files here, and the library built from them, if it was.

Every pointer handed over must stay alive and unmoved during the call: `pointer` takes it from a
contiguous tensor, whose owner keeps the tensor. Knows no models; see `generate/step.py`
and `nn/cache.py`.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

int64, void_p = ctypes.c_int64, ctypes.c_void_p


class LinearStruct(ctypes.Structure):
    _fields_ = (
        ("weight", void_p), ("bias", void_p), ("out", int64), ("in_", int64),
        ("bits", int64), ("minimum", int64),
        ("down", void_p), ("up", void_p), ("starts", void_p),
    )  # fmt: skip


class LayerStruct(ctypes.Structure):
    _fields_ = (
        ("norm_attn", void_p),
        ("norm_mlp", void_p),
        *((name, LinearStruct) for name in ("q", "k", "v", "o", "gate", "up", "down")),
    )


class ModelStruct(ctypes.Structure):
    _fields_ = (
        *(
            (name, int64)
            for name in ("half", "layers", "width", "heads", "key_heads", "head_width")
        ),
        ("eps", ctypes.c_float),
        ("layer", ctypes.POINTER(LayerStruct)),
        ("norm", void_p),
        ("head", LinearStruct),
        ("ranks", int64),
    )


class CacheStruct(ctypes.Structure):
    _fields_ = (
        ("keys", void_p),
        ("values", void_p),
        ("blocks", int64),
        ("size", int64),
        ("table", void_p),
        ("most", int64),
        ("key_scales", void_p),
        ("value_scales", void_p),
    )


class BatchStruct(ctypes.Structure):
    _fields_ = (
        ("rows", int64),
        *((name, void_p) for name in ("length", "cosine", "sine", "x", "logits", "scratch")),
        ("threads", int64),
        ("adapter", void_p),
    )


class OwnStruct(ctypes.Structure):
    _fields_ = (
        *(
            (name, int64)
            for name in (
                "half",
                "rows",
                "heads",
                "key_heads",
                "head_width",
                "size",
                "most",
                "threads",
            )
        ),
        *(
            (name, void_p)
            for name in ("q", "keys", "values", "table", "length", "y", "lse", "scratch")
        ),
        ("key_scales", void_p),
        ("value_scales", void_p),
    )


class PackedStruct(ctypes.Structure):
    _fields_ = (
        *((name, int64) for name in ("half", "heads", "key_heads", "head_width")),
        *((name, int64) for name in ("pieces", "prefix", "threads")),
        *((name, void_p) for name in ("start", "first", "last", "shared")),
        *((name, void_p) for name in ("q", "k", "v", "prefix_k", "prefix_v", "y", "lse")),
        *((name, void_p) for name in ("dy", "dq", "dk", "dv", "scratch")),
    )


MOST_GROUP, MOST_WIDTH = 16, 256
"""Query heads a key head, and head width, that tutelage_attend has room for."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The built library; None where the package was installed without a compiler, or an older
    build lies there that lacks a function or knows other structures."""
    found = sorted(Path(__file__).parent.glob("_library*.so"))
    try:
        return _typed(ctypes.CDLL(str(found[0]))) if found else None
    except (OSError, AttributeError):
        return None


def loaded() -> ctypes.CDLL:
    """The library, where it is known to be built."""
    found = library()
    assert found is not None
    return found


def _typed(loaded: ctypes.CDLL) -> ctypes.CDLL:
    model, cache = ctypes.POINTER(ModelStruct), ctypes.POINTER(CacheStruct)
    loaded.tutelage_layout.argtypes, loaded.tutelage_layout.restype = [], int64
    kinds = (ModelStruct, LayerStruct, BatchStruct, CacheStruct, OwnStruct)
    sizes = (ctypes.sizeof(kind) for kind in kinds)
    if loaded.tutelage_layout() != sum(size * 1000**place for place, size in enumerate(sizes)):
        raise AttributeError("structures of another version")
    loaded.tutelage_scratch.argtypes = [model, cache, int64, int64]
    loaded.tutelage_scratch.restype = int64
    loaded.tutelage_rows.argtypes, loaded.tutelage_rows.restype = [model], int64
    loaded.tutelage_step.argtypes = [model, cache, ctypes.POINTER(BatchStruct)]
    loaded.tutelage_step.restype = None
    loaded.tutelage_attend.argtypes = [ctypes.POINTER(OwnStruct)]
    loaded.tutelage_attend.restype = None
    packed = ctypes.POINTER(PackedStruct)
    loaded.tutelage_packed_scratch.argtypes = [packed, int64]
    loaded.tutelage_packed_scratch.restype = int64
    for function in (loaded.tutelage_packed_forward, loaded.tutelage_packed_backward):
        function.argtypes, function.restype = [packed], None
    floats, norm = ctypes.c_float, loaded.tutelage_norm
    norm.argtypes = [*[int64] * 4, void_p, void_p, floats, void_p, void_p]
    loaded.tutelage_norm_backward.argtypes = [*[int64] * 4, *[void_p] * 6]
    loaded.tutelage_rotate.argtypes = [*[int64] * 5, *[void_p] * 3, floats, void_p]
    loaded.tutelage_gate.argtypes = [*[int64] * 3, *[void_p] * 3]
    loaded.tutelage_gate_backward.argtypes = [*[int64] * 3, *[void_p] * 5]
    loaded.tutelage_widen.argtypes = [*[int64] * 6, *[void_p] * 4]
    for name in ("norm", "norm_backward", "rotate", "gate", "gate_backward", "widen"):
        getattr(loaded, f"tutelage_{name}").restype = None
    return loaded


def computes(x: Tensor) -> bool:
    """Whether the library was built and computes on this device and in this type."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.bfloat16, torch.float32)
        and library() is not None
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Address of a contiguous tensor's data; None for None."""
    if tensor is None:
        return None
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    return tensor.data_ptr()
