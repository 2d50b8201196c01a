"""Rows of tokens put together without padding: which rows share a step, and how they stand in it.

    batch(...)  rows -> steps of about `capacity` tokens each
    pack(...)   the rows of one step -> one axis of tokens, a prefix that all share stored once

    tokens   [prefix | row 1 | row 2 | ...]      positions restart after the prefix in every row
    buckets  rows of similar length side by side, padded on the right, for attention alone
    select   the positions whose next token is trained or scored, with its label

Plain arrays; knows nothing of torch, models or what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

SHARED_FROM = 8
"""A common prefix shorter than this is not worth the bookkeeping."""

ROW_COST = 200
"""What a token of a bucket costs besides its share of the square, in units of one score: an
estimate for CPUs. With BUCKET_COST it decides how many buckets a pack is cut into, and nothing else
depends on it."""

BUCKET_COST = 180_000


@dataclass(frozen=True)
class Example:
    """A prompt and what follows it; only `completion` is trained or scored, all of it."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    weight: float = 1.0
    name: str = ""

    @property
    def inputs(self) -> int:
        """Tokens the model must read: the last one is only ever a label."""
        return len(self.prompt) + len(self.completion) - 1


@dataclass(frozen=True)
class BucketPlan:
    index: Integers
    rows: int
    length: int


@dataclass(frozen=True)
class Pack:
    """One axis of N tokens (see the drawing above). `owner[i]` is the place, among the examples
    given, of the row that label i belongs to; `spans` are start and length of each row's own
    tokens. `back` finds each token's own slot in the buckets."""

    ids: Integers
    positions: Integers
    select: Integers
    labels: Integers
    owner: Integers
    weights: NDArray[np.float32]
    spans: tuple[tuple[int, int], ...]
    buckets: tuple[BucketPlan, ...]
    back: Integers
    prefix: int


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest prefix of all prompts that leaves each its last token."""
    if not prompts:
        return 0
    first, last = min(prompts), max(prompts)  # the two most different in dictionary order
    shared = 0
    for a, b in zip(first, last, strict=False):
        if a != b:
            break
        shared += 1
    shared = min(shared, min(len(prompt) for prompt in prompts) - 1)
    return shared if shared >= SHARED_FROM and len(prompts) > 1 else 0


def batch(
    examples: Sequence[Example], order: Sequence[int], capacity: int, window: int = 6
) -> list[list[int]]:
    """Fill steps of at most `capacity` tokens with rows in `order`, looking back over `window`
    open steps for one with room. A row longer than `capacity` gets a step of its own."""
    shared = common_prefix([example.prompt for example in examples])
    steps: list[list[int]] = []
    open_steps: list[tuple[list[int], int]] = []
    for row in order:
        need = examples[row].inputs - shared
        for place, (rows, used) in enumerate(open_steps):
            if used + need <= capacity:
                rows.append(row)
                open_steps[place] = (rows, used + need)
                break
        else:
            if len(open_steps) == window:
                steps.append(open_steps.pop(0)[0])
            open_steps.append(([row], shared + need))
    return steps + [rows for rows, _ in open_steps]


def pack(examples: Sequence[Example], share: bool = True) -> Pack:
    """Put the rows of one step on one axis. `share` False stores every row whole."""
    prefix = common_prefix([example.prompt for example in examples]) if share else 0
    ids: list[int] = list(examples[0].prompt[:prefix])
    positions: list[int] = list(range(prefix))
    select: list[int] = []
    labels: list[int] = []
    owner: list[int] = []
    weights: list[float] = []
    spans: list[tuple[int, int]] = []
    for number, example in enumerate(examples):
        start = len(ids)
        whole = example.prompt + example.completion
        ids += whole[prefix:-1]
        length = len(ids) - start
        positions += range(prefix, prefix + length)
        trained = len(example.completion)
        select += range(start + length - trained, start + length)
        labels += example.completion
        owner += [number] * trained
        weights += [example.weight] * trained
        spans.append((start, length))
    buckets, back = _buckets(spans, prefix, len(ids))
    return Pack(
        ids=_integers(ids),
        positions=_integers(positions),
        select=_integers(select),
        labels=_integers(labels),
        owner=_integers(owner),
        weights=np.asarray(weights, dtype=np.float32),
        spans=tuple(spans),
        buckets=tuple(buckets),
        back=back,
        prefix=prefix,
    )


def _buckets(
    spans: list[tuple[int, int]], prefix: int, tokens: int
) -> tuple[list[BucketPlan], Integers]:
    spans = sorted(spans, key=lambda span: span[1])
    back = np.zeros(tokens, dtype=np.int64)
    buckets: list[BucketPlan] = []
    offset = 0
    for first, end in _cut([prefix + length for _, length in spans]):
        rows, width = end - first, prefix + spans[end - 1][1]
        index = np.zeros((rows, width), dtype=np.int64)
        for row, (start, length) in enumerate(spans[first:end]):
            index[row, :prefix] = np.arange(prefix)
            index[row, prefix : prefix + length] = np.arange(start, start + length)
            index[row, prefix + length :] = start + length - 1
            back[start : start + length] = offset + row * width + prefix + np.arange(length)
        if not buckets and prefix:
            back[:prefix] = np.arange(prefix)
        buckets.append(BucketPlan(index.reshape(-1), rows, width))
        offset += rows * width
    return buckets, back


def _cut(lengths: list[int]) -> list[tuple[int, int]]:
    """Cut sorted lengths into runs so that padded squares and the cost per bucket are least.

    Dynamic programming over the last cut: best(j) = min_i best(i) + cost(i, j).
    """
    count = len(lengths)
    best = [0.0] + [float("inf")] * count
    previous = [0] * (count + 1)
    for end in range(1, count + 1):
        longest = lengths[end - 1]
        for first in range(end):
            cost = best[first] + (end - first) * longest * (longest + ROW_COST) + BUCKET_COST
            if cost < best[end]:
                best[end], previous[end] = cost, first
    cuts, end = [], count
    while end:
        cuts.append((previous[end], end))
        end = previous[end]
    return cuts[::-1]


def _integers(values: Sequence[int]) -> Integers:
    return np.asarray(values, dtype=np.int64)
