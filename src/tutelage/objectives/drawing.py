"""Random numbers for what an objective hides: they follow from a key alone, on every machine, so
that a run that is resumed sees the same."""

from __future__ import annotations

import hashlib

import numpy as np


def numbers(seed: int, epoch: int, row: int | str) -> np.random.Generator:
    """The random numbers of one row in one epoch."""
    digest = hashlib.blake2b(f"{seed}:{epoch}:{row}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def parts(total: int, count: int, drawn: np.random.Generator) -> list[int]:
    """`total` items cut into `count` runs of at least one, every cut as likely as any other."""
    cuts = np.sort(drawn.permutation(total - 1)[: count - 1]) + 1
    return np.diff([0, *cuts.tolist(), total]).tolist()
