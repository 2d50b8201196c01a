"""Causal attention over rows that stand on one axis, forward and backward, by the C++ library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.kernels.library import PackedStruct, library, pointer

CHUNK = 240
"""Queries of a long row computed by one thread at a time, so that several threads share the row."""


@dataclass(frozen=True)
class Pieces:
    """Runs of queries: of the row that begins at token `start`, those from `first` to `last`, each
    seeing its row up to itself and, before it, the first `shared` tokens of a prefix."""

    start: Int[Tensor, "R"]
    first: Int[Tensor, "R"]
    last: Int[Tensor, "R"]
    shared: Int[Tensor, "R"]
    prefix: int

    @staticmethod
    def of(spans: Sequence[tuple[int, int]], prefix: int, chunk: int | None = None) -> Pieces:
        """Of rows (start, length) that see `prefix` tokens; whole, or cut into chunks. The longest
        come first: threads that take them in turn end at about the same time."""
        runs = [
            (start, first, min(first + (chunk or length), length), prefix)
            for start, length in spans
            for first in range(0, length, chunk or length)
        ]
        return _pieces(runs, prefix)

    def with_prefix_row(self, chunk: int | None = None) -> Pieces:
        """And the prefix itself as a row that begins at token 0 and sees nothing before it."""
        own = Pieces.of([(0, self.prefix)] if self.prefix else [], 0, chunk)
        runs = [run for one in (self, own) for run in one._runs()]
        return _pieces(runs, self.prefix)

    def seeing(self, prefix: int) -> Pieces:
        """The same runs behind a prefix of another length."""
        return replace(self, shared=torch.full_like(self.shared, prefix), prefix=prefix)

    def _runs(self) -> list[tuple[int, int, int, int]]:
        columns = (self.start, self.first, self.last, self.shared)
        return list(zip(*(column.tolist() for column in columns), strict=True))


def _pieces(runs: list[tuple[int, int, int, int]], prefix: int) -> Pieces:
    runs = sorted(runs, key=lambda run: -(run[2] - run[1]) * (run[1] + run[2] + 2 * run[3]))
    columns = torch.tensor(runs, dtype=torch.long).reshape(-1, 4).t().contiguous()
    return Pieces(columns[0], columns[1], columns[2], columns[3], prefix)


def forward(
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "N K D"],
    v: Float[Tensor, "N K D"],
    pieces: Pieces,
    prefix: tuple[Float[Tensor, "P K D"], Float[Tensor, "P K D"]] | None = None,
) -> tuple[Float[Tensor, "N H D"], Float[Tensor, "N H"]]:
    """y = softmax(q k^T / sqrt(D)) v for the pieces' queries, zeros for all others, and the
    log-sum-exp in float32. `prefix`: its keys and values where they are not in k and v."""
    q, k, v = (x.contiguous() for x in (q, k, v))
    y, lse = torch.zeros_like(q), torch.zeros(q.shape[:2])
    _call("forward", q, k, v, y, lse, pieces, prefix or (k, v))
    return y, lse


def backward(
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "N K D"],
    v: Float[Tensor, "N K D"],
    y: Float[Tensor, "N H D"],
    lse: Float[Tensor, "N H"],
    dy: Float[Tensor, "N H D"],
    rows: Pieces,
) -> tuple[Float[Tensor, "N H D"], Float[Tensor, "N K D"], Float[Tensor, "N K D"]]:
    """Gradients of q, k and v; `rows` are whole. With P = exp(S - lse), D = rowsum(dY * Y):
    dS = P * (dY V^T - D) / sqrt(D_head), dQ = dS K, dK = dS^T Q, dV = P^T dY.
    The sums over rows that share a prefix are made in an order fixed by the number of threads."""
    q, k, v, dy = (x.contiguous() for x in (q, k, v, dy))
    grads = tuple(torch.zeros_like(x) for x in (q, k, v))
    _call("backward", q, k, v, y, lse, rows, (k, v), dy, grads)
    return grads[0], grads[1], grads[2]


def _call(
    which: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    pieces: Pieces,
    prefix: tuple[Tensor, Tensor],
    dy: Tensor | None = None,
    grads: tuple[Tensor, ...] = (),
) -> None:
    loaded = library()
    assert loaded is not None
    asked = PackedStruct(
        half=int(q.dtype == torch.bfloat16),
        heads=q.shape[1],
        key_heads=k.shape[1],
        head_width=q.shape[2],
        pieces=len(pieces.start),
        prefix=pieces.prefix,
        threads=torch.get_num_threads(),
        start=pointer(pieces.start),
        first=pointer(pieces.first),
        last=pointer(pieces.last),
        shared=pointer(pieces.shared),
        q=pointer(q),
        k=pointer(k),
        v=pointer(v),
        prefix_k=pointer(prefix[0]),
        prefix_v=pointer(prefix[1]),
        y=pointer(y),
        lse=pointer(lse),
        dy=pointer(dy),
        **{name: pointer(grad) for name, grad in zip(("dq", "dk", "dv"), grads, strict=False)},
    )
    size = loaded.tutelage_packed_scratch(ctypes.byref(asked), int(which == "backward"))
    scratch = torch.empty(size)
    asked.scratch = pointer(scratch)
    getattr(loaded, f"tutelage_packed_{which}")(ctypes.byref(asked))
