"""One hash by which the weights of a model are known, whatever kind of file they were read from.

A model and its copy in another container, or rounded to bfloat16, have the same hash; one with
another seed, or tuned further, has another. 64 values of every weight are hashed, so that it costs
milliseconds where the weights are being read anyway: it tells models apart and proves nothing about
every last value, as `Checkpoint.fingerprint` does of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.nn.quantized import Codes

SAMPLED = 64
"""Values of each weight, evenly spaced from its first to its last."""


def sample(weight: Tensor) -> bytes:
    """The sampled values as bfloat16, little-endian: the coarsest type models are exchanged in."""
    flat = weight.reshape(-1)
    return _bytes(flat[_places(len(flat))])


def sample_codes(codes: Codes, transposed: bool) -> bytes:
    """The same of a matrix in few bits, without making it wide; `transposed` as files have it."""
    rows, columns = len(codes.numbers), codes.columns
    places = _places(rows * columns)
    first, second = (places % rows, places // rows) if transposed else (
        places // columns, places % columns,
    )  # fmt: skip
    return _bytes(codes.rows(first)[torch.arange(len(places)), second])


def _places(size: int) -> Tensor:
    count = min(SAMPLED, size)
    return torch.arange(count) * (size - 1) // max(count - 1, 1)


def _bytes(values: Tensor) -> bytes:
    return values.to("cpu", torch.bfloat16).view(torch.int16).numpy().astype("<i2").tobytes()


def weights_hash(samples: Mapping[str, bytes]) -> str:
    """SHA-256 over the samples by the weights' Hugging Face names."""
    total = hashlib.sha256()
    for name in sorted(samples):
        total.update(name.encode() + b"\0" + samples[name] + b"\0")
    return total.hexdigest()
