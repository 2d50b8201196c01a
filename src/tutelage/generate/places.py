"""Who has a place in the running batch: slots, and blocks for keys and values.

A row waits for a slot and for the blocks its prompt needs. It takes over blocks of a row that began
like it, and waits a step where another is just reading the same. A row that grows and finds no
block takes those of the row that came last, which then waits first in the line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace

import torch

from tutelage.data.pack import SHARED_FROM
from tutelage.generate.blocks import Blocks, Key, Known
from tutelage.generate.chooser import Chooser
from tutelage.generate.job import Job, Token
from tutelage.generate.speculate import Proposer
from tutelage.nn.cache import Cache

PART = 512
"""Prompt tokens read between two steps of rows that are being answered."""


@dataclass(eq=False)
class Row:
    """One answer under way. `tokens` are what it reads, then says; of the first `length` keys and
    values are in the cache. The first `named` of its `blocks` are remembered, the last of them as
    `name`."""

    index: int
    job: Job
    stopped: Container[int]
    tokens: list[int]
    prompt: int
    whole: bool
    chooser: Chooser | None = None
    proposer: Proposer | None = None
    slot: int = -1
    order: int = 0
    length: int = 0
    made: int = 0
    blocks: list[int] = field(default_factory=list)
    named: int = 0
    name: int = 0

    @property
    def reads(self) -> bool:
        """Whether more than the last token is still unread."""
        return self.length == 0 if self.whole else self.length < len(self.tokens) - 1

    @property
    def said(self) -> list[int]:
        return self.tokens[self.prompt :]


@dataclass
class Counts:
    """What a batch did so far."""

    reused_tokens: int = 0
    """Prompt tokens whose keys were there already."""
    read_tokens: int = 0
    preempted: int = 0


class Places:
    """The slots and blocks of one cache. `begin` is told of each row that gets a place before its
    first token. With `exact` room for a whole answer is set apart at once, and none is given away.
    """

    def __init__(
        self, cache: Cache, slots: int, blocks: int, exact: bool, begin: Callable[[Row], None]
    ) -> None:
        self.cache, self.exact = cache, exact
        self.blocks = Blocks(blocks, cache.size)
        self.waiting: deque[Row] = deque()
        self.rows: list[Row | None] = [None] * slots
        self.counts = Counts()
        self._begin = begin
        self._joined = 0

    @property
    def running(self) -> list[Row]:
        return [row for row in self.rows if row is not None]

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or any(row is not None for row in self.rows)

    def drop_stopped(self) -> Iterator[tuple[Row, Token]]:
        """End the rows whose readers want no more."""
        for row in [row for row in self.waiting if row.index in row.stopped]:
            self.waiting.remove(row)
            yield row, Token(row.index, None, "cancelled")
        for row in self.running:
            if row.index in row.stopped:
                self.leave(row)
                yield row, Token(row.index, None, "cancelled")

    def admit(self) -> None:
        """Give slots and blocks to those who wait, in their order. Where not all can join, some
        places are let gather: reading one prompt costs almost what reading several does."""
        free = self.rows.count(None)
        if len(self.waiting) > free and free < max(1, len(self.rows) // 4):
            return
        soon = {self._first_unread(row) for row in self.running} - {None}
        later: list[Row] = []
        while self.waiting and free:
            row = self.waiting.popleft()
            known = self._known(row)
            key = self._first_unread(row)
            if key in soon:
                later.append(row)  # what another row is just reading it can take over then
                continue
            if not self._fits(row, known):
                later.append(row)
                break
            self._join(row, known)
            soon |= {key} - {None}
            free -= 1
        self.waiting.extendleft(reversed(later))

    def _known(self, row: Row) -> Known:
        """What is there of the row's beginning; the row is told its name and length."""
        root = self.blocks.root(row.job.adapter)
        known = Known((), root) if row.whole else self.blocks.known(root, row.tokens)
        if self.exact:
            known = self._whole_parts(row, known, root)
        row.name, row.named = known.name, len(known.blocks)
        row.length = row.named * self.blocks.size
        return known

    def _whole_parts(self, row: Row, known: Known, root: int) -> Known:
        each = PART // self.blocks.size
        count = len(known.blocks) // each * each
        if count == len(known.blocks):
            return replace(known, tail=None)
        tokens = row.tokens[: count * self.blocks.size + 1]
        return replace(self.blocks.known(root, tokens), tail=None)

    def _first_unread(self, row: Row) -> Key | None:
        """What the row reads next, as it will be remembered."""
        if row.whole or not row.reads:
            return None
        least, each = (PART, PART) if self.exact else (SHARED_FROM, self.blocks.size)
        end = min(row.length + each, len(row.tokens) - 1)
        if end - row.length < least:
            return None
        return row.name, tuple(row.tokens[row.length : end])

    def _fits(self, row: Row, known: Known) -> bool:
        """Whether there are blocks for the prompt and one more for each row, or, where none may be
        taken back, for the whole answer."""
        rest = row.job.max_new_tokens - row.made if self.exact else 1
        need = self.count(len(row.tokens) + rest) - len(known.blocks)
        spare = 0 if self.exact else len(self.running)
        resting = self.blocks.resting(known.blocks)  # taken over, they can no longer be taken
        return need + spare <= self.blocks.free - resting

    def count(self, tokens: int) -> int:
        """Blocks of so many tokens."""
        return math.ceil(min(tokens, self.cache.room) / self.blocks.size)

    def _join(self, row: Row, known: Known) -> None:
        self._joined += 1
        row.order, row.slot = self._joined, self.rows.index(None)
        self.rows[row.slot] = row
        row.blocks = list(known.blocks)
        self.blocks.hold(known.blocks)
        if known.tail is not None:
            self.blocks.hold([known.tail])
            row.blocks.append(self.blocks.take())
            self.cache.copy_block(known.tail, row.blocks[-1])
            self.blocks.release([known.tail])
            row.length = len(row.tokens) - 1
        rest = row.job.max_new_tokens - row.made if self.exact else 1
        while len(row.blocks) < self.count(len(row.tokens) + rest):
            row.blocks.append(self.blocks.take())
        self.cache.table[row.slot, : len(row.blocks)] = torch.tensor(row.blocks)
        self.cache.lengths[row.slot] = row.length
        self.counts.reused_tokens += row.length
        if not row.made:
            self._begin(row)

    def leave(self, row: Row) -> None:
        """Its blocks can be taken; what is remembered of them can be taken over."""
        self.blocks.release(row.blocks)
        self.rows[row.slot] = None
        row.blocks, row.length, row.slot = [], 0, -1

    def grow(self, row: Row, tokens: int) -> bool:
        """Blocks for so many tokens; False where the row itself had to go, to be read again."""
        while len(row.blocks) * self.blocks.size < tokens:
            if not self.blocks.free:
                last = max(self.running, key=lambda one: one.order)
                self.leave(last)
                self.waiting.appendleft(last)
                self.counts.preempted += 1
                if last is row:
                    return False
                continue
            row.blocks.append(self.blocks.take())
            self.cache.table[row.slot, len(row.blocks) - 1] = row.blocks[-1]
        return True
