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
    """One row: the tokens a model reads, and what is trained or scored of it.

    The vector of token `at[i]` is to give `labels[i]`. `memory` are the tokens an encoder reads for
    a decoder to attend to; the first `lead` tokens of the row are seen by all of it, later ones
    causally; `types` tell parts of the row apart. `weight` multiplies the row's loss. Rows that
    are only understood together, as the choices of a question, stand `beside` the first of them.
    """

    ids: tuple[int, ...]
    at: tuple[int, ...]
    labels: tuple[float, ...]
    weight: float = 1.0
    name: str = ""
    memory: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    lead: int = 0
    terms: int | None = None
    """How many terms the row's loss has; None is one for each label."""
    beside: tuple[Example, ...] = ()

    @staticmethod
    def answer(
        prompt: Sequence[int], completion: Sequence[int], weight: float = 1.0, name: str = "",
        lead: int = 0,
    ) -> Example:  # fmt: skip
        """A prompt and what follows it, all of which is trained or scored and nothing else. The
        last token is only ever a label and is not read."""
        whole = (*prompt, *completion)
        at = range(len(prompt) - 1, len(whole) - 1)
        return Example(whole[:-1], tuple(at), tuple(completion), weight, name, lead=lead)

    @staticmethod
    def pair(
        source: Sequence[int],
        target: Sequence[int],
        start: int | Sequence[int],
        given: int = 0,
        weight: float = 1.0,
        name: str = "",
    ) -> Example:
        """What an encoder reads and what a decoder is to say, whose rows begin with `start`, one
        token or several; all of it is trained or scored but its first `given` tokens. The last
        token is only ever a label and is not read."""
        begins = (start,) if isinstance(start, int) else tuple(start)
        ids = (*begins, *target[:-1])
        at, labels = tuple(range(len(begins) - 1 + given, len(ids))), tuple(target[given:])
        return Example(ids, at, labels, weight, name, tuple(source))

    @staticmethod
    def read(ids: Sequence[int], memory: Sequence[int] = (), lead: int = 0) -> Example:
        """Tokens of which the last vector alone is wanted."""
        return Example(tuple(ids), (len(ids) - 1,), (0,), memory=tuple(memory), lead=lead)

    @property
    def inputs(self) -> int:
        """Tokens the model must read, by its encoder too."""
        beside = sum(row.inputs for row in self.beside)
        return len(self.ids) + len(self.memory) + beside

    @property
    def trained(self) -> int:
        """Tokens that are trained or scored, or what is learned instead of tokens."""
        return len(self.labels) if self.terms is None else self.terms


@dataclass(frozen=True)
class BucketPlan:
    """Rows of one rectangle [rows, length]: `index` finds their tokens in the pack, `members` are
    the rows' numbers, `lengths` how many tokens each has before padding repeats its last."""

    index: Integers
    rows: int
    length: int
    members: tuple[int, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Pack:
    """One axis of N tokens (see the drawing above). `owner[i]` is the place, among the examples
    given, of the row that label i belongs to; `spans` are start and length of each row's own
    tokens; `back` finds each token's own slot in the buckets. `leads` is each row's `lead`, `types`
    None where no row tells parts apart."""

    ids: Integers
    positions: Integers
    select: Integers
    labels: Integers | NDArray[np.float32]
    owner: Integers
    weights: NDArray[np.float32]
    spans: tuple[tuple[int, int], ...]
    buckets: tuple[BucketPlan, ...]
    back: Integers
    prefix: int
    leads: tuple[int, ...] = ()
    types: Integers | None = None


def rows_of(examples: Sequence[Example]) -> Sequence[Example]:
    """Every row, those that stand beside another behind it."""
    if not any(example.beside for example in examples):
        return examples
    return [row for example in examples for row in (example, *example.beside)]


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


def shared_prefix(examples: Sequence[Example]) -> int:
    """Length of what all rows begin with, before anything that is trained or scored; 0 where rows
    are not read causally alone."""
    if any(example.lead or example.memory or example.types for example in examples):
        return 0
    examples = rows_of(examples)
    return common_prefix([example.ids[: example.at[0] + 1] for example in examples if example.at])


def packed_tokens(examples: Sequence[Example]) -> int:
    """Tokens of one step, what all its rows begin with counted once."""
    shared = shared_prefix(examples)
    return shared + sum(row.inputs - shared for row in examples)


def batch(
    examples: Sequence[Example], order: Sequence[int], capacity: int, window: int = 6
) -> list[list[int]]:
    """Fill steps of at most `capacity` tokens with rows in `order`, looking back over `window`
    open steps for one with room. A row longer than `capacity` gets a step of its own."""
    shared = shared_prefix(examples)
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
    examples = rows_of(examples)
    prefix = shared_prefix(examples) if share else 0
    ids: list[int] = list(examples[0].ids[:prefix])
    positions: list[int] = list(range(prefix))
    select: list[int] = []
    labels: list[float] = []
    owner: list[int] = []
    weights: list[float] = []
    spans: list[tuple[int, int]] = []
    for number, example in enumerate(examples):
        start = len(ids)
        ids += example.ids[prefix:]
        length = len(ids) - start
        positions += range(prefix, prefix + length)
        select += [start + place - prefix for place in example.at]
        labels += example.labels
        owner += [number] * len(example.labels)
        weights += [example.weight] * len(example.labels)
        spans.append((start, length))
    buckets, back = _buckets(spans, prefix, len(ids))
    return Pack(
        ids=_integers(ids),
        positions=_integers(positions),
        select=_integers(select),
        labels=_labels(labels),
        owner=_integers(owner),
        weights=np.asarray(weights, dtype=np.float32),
        spans=tuple(spans),
        buckets=tuple(buckets),
        back=back,
        prefix=prefix,
        leads=tuple(example.lead for example in examples),
        types=_types(examples),
    )


def memory_of(examples: Sequence[Example]) -> Pack:
    """The tokens that encoders read for these rows, packed in the same order."""
    rows = rows_of(examples)
    return pack([Example(example.memory, (), ()) for example in rows], share=False)


def _types(examples: Sequence[Example]) -> Integers | None:
    if not any(example.types for example in examples):
        return None
    return _integers([kind for one in examples for kind in one.types or (0,) * len(one.ids)])


def _buckets(
    spans: list[tuple[int, int]], prefix: int, tokens: int
) -> tuple[list[BucketPlan], Integers]:
    order = sorted(range(len(spans)), key=lambda row: spans[row][1])
    spans = [spans[row] for row in order]
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
        members, lengths = order[first:end], [prefix + length for _, length in spans[first:end]]
        buckets.append(BucketPlan(index.reshape(-1), rows, width, tuple(members), tuple(lengths)))
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


def _labels(values: Sequence[float]) -> Integers | NDArray[np.float32]:
    """Numbers that are no classes stay what they are."""
    if any(isinstance(value, float) for value in values):
        return np.asarray(values, dtype=np.float32)
    return np.asarray(values, dtype=np.int64)


def _integers(values: Sequence[int]) -> Integers:
    return np.asarray(values, dtype=np.int64)
