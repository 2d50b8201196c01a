"""The running batch: rows that join and leave between steps.

    waiting --admit--> reading --(prompt read, in parts)--> decoding --end--> gone
       ^                                                       |
       +------------------ preempted: no block was left -------+

A step reads a part of the prompts that are not read yet, then adds one token (with speculation
several) to every row that is: a long prompt holds up the others by a part of it at a time. A row
that begins like one before it takes over that one's blocks of keys (`blocks.py`). Where no block is
left, the row that came last gives its own away and is read again later: nothing is lost.

With `exact` no result depends on company: every prompt is read by itself in parts that begin at
multiples of PART, whole parts alone are taken over, tokens come from the kernel, whose rows do not
touch each other, or from PyTorch row by row, and room for a whole answer is set apart at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

import torch
from torch import Tensor

from tutelage.data.pack import Example
from tutelage.errors import TutelageError
from tutelage.generate.chooser import Choice
from tutelage.generate.job import Job, Token
from tutelage.generate.places import PART, Places, Row
from tutelage.generate.rows import Rows
from tutelage.generate.sample import BROKEN, likeliest, not_numbers
from tutelage.generate.speculate import Speculation, can_look_ahead, verified
from tutelage.generate.step import FEW_ROWS
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model, scans
from tutelage.nn.cache import Cache

READ_TOKENS = 2048
"""Prompt tokens read in one forward pass."""
SHORT = 64
"""A reading of fewer tokens costs about as much as one of so many."""


class Batch:
    """Rows over one model and one cache of `blocks` blocks; `slots` rows at most are answered at
    once, each of at most `room` tokens. `use` puts an adapter in place. `patient` reads all prompts
    that have a place before the next step: full passes, where nobody waits for his next token."""

    def __init__(
        self, model: Model, slots: int, room: int, blocks: int, *, exact: bool = False,
        speculation: Speculation | None = None, use: Callable[[str | None], None] | None = None,
        mix: Callable[[Sequence[str | None]], bool] | None = None, patient: bool = False,
    ) -> None:  # fmt: skip
        self._model, self._exact, self._speculation = model, exact, speculation
        self._patient = patient
        self._use = use or (lambda _: None)
        self._mix = mix
        self._mixed: Rows | None = None
        self._encodes = isinstance(model, EncoderDecoder)
        self._scans = scans(model)
        self._use(None)
        self._of: dict[str | None, Rows] = {None: Rows.of(model, slots, room, blocks)}
        self.cache: Cache = self._of[None].cache
        self.places = Places(self.cache, slots, blocks, exact, self._begin)
        self.blocks, self.counts = self.places.blocks, self.places.counts

    @property
    def running(self) -> list[Row]:
        return self.places.running

    @property
    def busy(self) -> bool:
        return self.places.busy

    def add(self, job: Job, index: int, stopped: Container[int]) -> Row:
        """One more answer; before each step it is asked whether `stopped` has its number."""
        read = job.read(self._model)
        whole = bool(read.lead or read.memory) or self._scans
        row = Row(index, job, stopped, list(read.ids), len(read.ids), whole)
        self.places.waiting.append(row)
        return row

    @torch.inference_mode()
    def step(self) -> list[tuple[Row, Token]]:
        """What happened to whom, until every row that could has one token more, with speculation
        several."""
        told = [*self.places.drop_stopped()]
        self.places.admit()
        # A row whose prompt ends in this step is asked whether it is stopped before its next token.
        ready = [row for row in self.running if not row.reads]
        told += self._read()
        told += self._decode(ready)
        return told

    def _begin(self, row: Row) -> None:
        row.chooser = row.job.chooser(self._model)
        if self._speculation is not None:
            row.proposer = self._speculation.proposer(row.job.prompt, row.job.max_new_tokens)

    def _read(self) -> Iterator[tuple[Row, Token]]:
        rows = sorted((row for row in self.running if row.reads), key=lambda row: row.order)
        alone = self._patient or len(rows) == len(self.running)
        left = READ_TOKENS if alone else PART
        while rows and left > 0:
            group = self._group(rows, left)
            counts = [self._part(row, left) for row in group]
            left = left if self._patient else left - max(sum(counts), SHORT)
            rows = [row for row in rows if row not in group]
            logits = self._logits(group, counts)
            for row, scores, known in zip(group, logits, likeliest(logits).tolist(), strict=True):
                if row.length == len(row.tokens):
                    yield row, self._advance(row, scores, known)

    def _group(self, rows: Sequence[Row], most: int) -> list[Row]:
        """Rows that can be read in one pass: they have the same before them and the same adapter,
        and there are at most so many tokens, but for the first row's."""
        first, group, tokens = rows[0], [rows[0]], self._part(rows[0], most)
        before = first.blocks[: self.places.count(first.length)]
        for row in rows[1:]:
            alike = row.job.adapter == first.job.adapter and row.length == first.length
            need = len(row.tokens) + len(row.job.prompt) * self._encodes - row.length
            if self._exact or not alike or row.blocks[: len(before)] != before:
                continue
            if tokens + need <= most:
                group.append(row)
                tokens += need
        return group

    def _part(self, row: Row, most: int) -> int:
        """How many tokens are read of a row now."""
        unread = len(row.tokens) - row.length
        if row.whole:
            return unread
        if self._exact:
            return min(unread, PART - row.length % PART)
        return unread if unread <= most else max(most // self.blocks.size, 1) * self.blocks.size

    def _logits(self, group: list[Row], counts: list[int]) -> Tensor:
        """Logits after what is read of each row."""
        before = group[0].length
        examples = []
        for row, count in zip(group, counts, strict=True):
            ids = row.tokens[before : before + count]
            lead = row.prompt if row.job.both and not self._encodes else 0
            memory = row.job.prompt if self._encodes else ()
            examples.append(Example.read(ids, memory, lead))
        hidden = self._rows(group[0]).read([row.slot for row in group], examples, before)
        for row, count in zip(group, counts, strict=True):
            row.length += count
            self._remember(row)
        self.counts.read_tokens += sum(counts)
        return self._model.logits(hidden)

    def _remember(self, row: Row) -> None:
        """Give the row's full blocks their names, and the rest of a prompt that is read."""
        if row.whole:
            return
        size, blocks = self.blocks.size, self.blocks
        known = row.length // PART * PART if self._exact else row.length
        if self._exact:
            known = min(known, row.prompt // PART * PART)
        while (row.named + 1) * size <= known:
            start = row.named * size
            tokens = row.tokens[start : start + size]
            row.name = blocks.remember(row.blocks[row.named], row.name, tokens)
            row.named += 1
        rest = row.tokens[row.named * size : row.prompt - 1]
        if not self._exact and row.length == row.prompt and 0 < len(rest) < size:
            blocks.remember(row.blocks[row.named], row.name, rest)

    def _decode(self, ready: list[Row]) -> Iterator[tuple[Row, Token]]:
        """One step of these rows."""
        guesses = self._guesses(ready)
        for row, guess in zip(ready, guesses, strict=True):
            if row.slot >= 0:
                self.places.grow(row, row.length + 1 + len(guess))
        pairs = [(row, guess) for row, guess in zip(ready, guesses, strict=True) if row.slot >= 0]
        adapters = sorted({row.job.adapter for row, _ in pairs}, key=str)
        if len(adapters) > 1 and not any(guess for _, guess in pairs):
            alive = [row for row, _ in pairs]
            mixed = self._rows_mixed(alive)
            if mixed is not None:
                yield from self._stepped(mixed, alive, self._mix)
                return
        for adapter in adapters:
            alike = [(row, guess) for row, guess in pairs if row.job.adapter == adapter]
            if any(guess for _, guess in alike):
                yield from self._verify(alike)
            else:
                yield from self._stepped(self._rows(alike[0][0]), [row for row, _ in alike])

    def _stepped(
        self, rows: Rows, alive: list[Row], mix: Callable[..., bool] | None = None
    ) -> Iterator[tuple[Row, Token]]:
        for some in self._together(rows, alive):
            if mix is not None:
                mix([row.job.adapter for row in some])
            logits = rows.step([row.slot for row in some], [row.tokens[-1] for row in some])
            for row, scores, known in zip(some, logits, likeliest(logits).tolist(), strict=True):
                row.length += 1
                self._remember(row)
                yield row, self._advance(row, scores, known)

    def _together(self, rows: Rows, alive: list[Row]) -> list[list[Row]]:
        """Rows that take a step together; in exact as many as do not touch each other."""
        if not self._exact:
            return [alive]
        each = 1 if rows.stepper is None else FEW_ROWS
        return [alive[start : start + each] for start in range(0, len(alive), each)]

    def _guesses(self, rows: list[Row]) -> list[list[int]]:
        """What may follow in each row; nothing where plain steps are as good or the only ones."""
        none: list[list[int]] = [[] for _ in rows]
        if self._speculation is None or not 1 <= len(rows) <= FEW_ROWS // 2:
            return none
        of = self._rows(rows[0])
        if not can_look_ahead(of, self._exact):
            return none
        each = FEW_ROWS // len(rows) - 1 if of.stepper else self._speculation.tokens
        for place, row in enumerate(rows):
            count = min(each, self._speculation.tokens, row.job.max_new_tokens - row.made - 1)
            if row.proposer and count:
                none[place] = row.proposer.propose(row.said, count)
        return none

    def _verify(self, alive: list[tuple[Row, list[int]]]) -> Iterator[tuple[Row, Token]]:
        """One step that reads guesses too: tokens are chosen as long as the guesses were right."""
        fed = [[row.tokens[-1], *guess] for row, guess in alive]
        rows = self._rows(alive[0][0])
        scores = verified(rows, [row.slot for row, _ in alive], fed)
        for (row, guess), after in zip(alive, scores, strict=True):
            for place, known in enumerate(likeliest(after).tolist()):
                row.length += 1
                self.cache.lengths[row.slot] = row.length
                self._remember(row)
                token = self._advance(row, after[place], known)
                yield row, token
                right = place < len(guess) and row.tokens[-1] == guess[place]
                if token.finish is not None or token.error is not None or not right:
                    break

    def _advance(self, row: Row, logits: Tensor, known: int) -> Token:
        """Choose the row's next token, `known` being the likeliest; it leaves if that ends it."""
        try:
            choice = _chosen(row, logits, known)
        except TutelageError as error:
            self.places.leave(row)
            return Token(row.index, None, "cancelled", error=error)
        token, found = choice.token, choice.logprobs
        row.tokens.append(token)
        row.made += 1
        if token in row.job.ends:
            self.places.leave(row)
            return Token(row.index, None, "stop")
        if row.made >= row.job.max_new_tokens:
            self.places.leave(row)
            return Token(row.index, token, "length", found)
        return Token(row.index, token, None, found)

    def _rows(self, row: Row) -> Rows:
        """The model with the row's adapter in place."""
        adapter = row.job.adapter
        self._use(adapter)
        if adapter not in self._of:
            self._of[adapter] = Rows(self._model, self.cache)
        return self._of[adapter]

    def _rows_mixed(self, alive: list[Row]) -> Rows | None:
        """The model with every row's adapter in place for one token of each, where that can be; in
        exact only by the kernel, whose rows do not touch each other."""
        if self._mix is None or not self._mix([row.job.adapter for row in alive]):
            return None
        if self._mixed is None:
            self._mixed = Rows(self._model, self.cache)
        if self._exact and self._mixed.stepper is None:
            self._mix = None
            return None
        return self._mixed


def _chosen(row: Row, logits: Tensor, known: int) -> Choice:
    """The row's next token; without settings of its own the likeliest."""
    if known == BROKEN:
        raise not_numbers(f"token {row.made + 1} of answer {row.index + 1}")
    return Choice(known, None) if row.chooser is None else row.chooser.choose(logits)
