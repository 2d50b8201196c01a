"""Many prompts answered at once: tokens in, tokens out.

Prompts are read packed (`data/pack.py`), what they all begin with only once; answers are decoded
one token a row and step. A row that ends frees its slot, and waiting prompts take free slots in
groups. Knows token ids alone: text, templates and stop texts are `backends/local.py`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tutelage.data.pack import common_prefix
from tutelage.generate.chooser import Chooser, Guide, Logprobs
from tutelage.generate.rows import Rows, first_read
from tutelage.generate.speculate import Proposer, Speculation, can_look_ahead, verified
from tutelage.generate.step import FEW_ROWS
from tutelage.lm import FinishReason, Sampling
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model
from tutelage.nn.cache import Cache

READ_TOKENS = 2048
"""Prompt tokens read in one forward pass."""
SLOTS = 64
"""Rows decoded together, at most."""
CACHE_BYTES = 600_000_000
"""What their own keys and values may take together; one row is answered whatever it takes."""


@dataclass(frozen=True)
class Job:
    """One prompt; the answer ends at a token in `ends` (not given out) or at the limit. With `both`
    the prompt's tokens see those behind them too, as a prefix language model was trained. `guide`
    makes the guide of one answer; `logprobs` is how many alternatives are told, None for none."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    ends: frozenset[int]
    sampling: Sampling = field(default_factory=Sampling)
    both: bool = False
    min_new_tokens: int = 0
    logprobs: int | None = None
    guide: Callable[[], Guide] | None = None

    def chooser(self, model: Model) -> Chooser | None:
        """What chooses the tokens; None where the likeliest one is all that is asked for."""
        plain = self.sampling.plain and self.guide is None and self.logprobs is None
        if plain and not self.min_new_tokens:
            return None
        read = first_read(model, self.prompt).ids
        guide = None if self.guide is None else self.guide()
        return Chooser(self.sampling, read, self.ends, self.min_new_tokens, self.logprobs, guide)


@dataclass(frozen=True)
class Token:
    """What happened to job `index`: a new token (None at an end token), and whether it is over."""

    index: int
    token: int | None
    finish: FinishReason | None
    logprobs: Logprobs | None = None


@dataclass
class _Row:
    index: int
    job: Job
    token: int
    made: int
    chooser: Chooser | None
    proposer: Proposer | None = None
    said: list[int] = field(default_factory=list)
    """The answer so far, where guesses are made from it."""


class Engine:
    """Continuous batching over one model.

    `slots` rows at most are decoded together, fewer where their caches would exceed `cache_bytes`.
    `exact` answers one job after the other and shares nothing, so that no answer depends on its
    company. An encoder-decoder's encoder reads the prompt, and the answer begins after its start
    token. With `speculation` the few rows of a small batch take several tokens a step, the same.
    """

    def __init__(
        self, model: Model, *, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES,
        exact: bool = False, speculation: Speculation | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.speculation = speculation
        self.slots = 1 if exact else slots
        self.cache_bytes = cache_bytes
        self.exact = exact

    @torch.inference_mode()
    def run(self, jobs: Sequence[Job], stopped: Collection[int] = ()) -> Iterator[Token]:
        """Answer all jobs; each ends with one Token that has `finish` set.

        `stopped` holds the jobs whose reader wants no more; it is looked at before each step, and
        the reader may add to it. Runs that are read in turn do not disturb each other.
        """
        if not jobs:
            return
        alone = self.exact or self._encodes or any(job.both for job in jobs)
        prefix = 0 if alone else common_prefix([job.prompt for job in jobs])
        order = range(len(jobs)) if self.exact else _by_length(jobs)
        cache = self._cache(jobs, prefix)
        batch = _Batch(self, cache, deque((i, jobs[i]) for i in order), stopped)
        if prefix:
            batch.rows.read_prefix(jobs[0].prompt[:prefix])
        yield from batch.run()

    def _cache(self, jobs: Sequence[Job], prefix: int) -> Cache:
        model = self.model
        like = torch.empty(0, dtype=model.compute, device=model.device)
        shape = (model.heads.key_value, model.heads.width)
        layers = model.layers
        source = max(len(job.prompt) for job in jobs) if self._encodes else 0
        room = max(
            len(first_read(model, job.prompt, job.both, prefix).ids) + job.max_new_tokens
            for job in jobs
        )
        each = Cache.bytes_per_slot(layers, room, shape, like.element_size(), source)
        slots = together(len(jobs), each, self.slots, self.cache_bytes)
        return Cache(layers, slots, room, shape, like)

    @property
    def _encodes(self) -> bool:
        return isinstance(self.model, EncoderDecoder)


class _Batch:
    """One run: the jobs that wait, the rows being decoded, and their cache."""

    def __init__(
        self, engine: Engine, cache: Cache, waiting: deque[tuple[int, Job]],
        stopped: Collection[int],
    ) -> None:  # fmt: skip
        self.model = engine.model
        self.rows = Rows(engine.model, cache)
        self._speculation = engine.speculation
        self._exact = engine.exact
        self._cache = cache
        self._waiting = waiting
        self._stopped = stopped
        self._rows: list[_Row | None] = [None] * cache.slots

    def run(self) -> Iterator[Token]:
        while self._waiting or any(self._rows):
            yield from self._admit()
            yield from self._drop_stopped()
            self._compact()
            if any(self._rows):
                yield from self._decode()

    def _admit(self) -> Iterator[Token]:
        """Read waiting prompts into free slots, a quarter of all slots at a time or more."""
        free = [slot for slot, row in enumerate(self._rows) if row is None]
        if not self._waiting or len(free) < max(1, len(self._rows) // 4):
            return
        prefix = self._cache.prefix_length
        while free and self._waiting:
            group: list[tuple[int, int, Job]] = []
            tokens = 0
            while free and self._waiting:
                need = len(self._waiting[0][1].prompt) - prefix
                if group and tokens + need > READ_TOKENS:
                    break
                index, job = self._waiting.popleft()
                group.append((free.pop(0), index, job))
                tokens += need
            logits = self._read(group)
            for (slot, index, job), row_logits in zip(group, logits, strict=True):
                row = _Row(index, job, 0, 0, job.chooser(self.model))
                if self._speculation is not None:
                    row.proposer = self._speculation.proposer(job.prompt, job.max_new_tokens)
                self._rows[slot] = row
                yield self._advance(slot, row, row_logits)

    def _read(self, group: list[tuple[int, int, Job]]) -> Tensor:
        """Logits after each prompt of the group, whose keys are now in their slots."""
        prefix = self._cache.prefix_length
        rows = [first_read(self.model, job.prompt, job.both, prefix) for _, _, job in group]
        return self.model.logits(self.rows.read([slot for slot, _, _ in group], rows))

    def _decode(self) -> Iterator[Token]:
        """One step of every row that is alive."""
        alive = [(slot, row) for slot, row in enumerate(self._rows) if row is not None]
        guesses = self._guesses([row for _, row in alive])
        if any(guesses):
            yield from self._verify(alive, guesses)
            return
        logits = self.rows.step([slot for slot, _ in alive], [row.token for _, row in alive])
        greedy = logits.argmax(-1).tolist()
        for (slot, row), scores, known in zip(alive, logits, greedy, strict=True):
            yield self._advance(slot, row, scores, known)

    def _guesses(self, rows: list[_Row]) -> list[list[int]]:
        """What may follow in each row; nothing where plain steps are as good or the only ones."""
        if self._speculation is None or len(rows) > FEW_ROWS // 2:
            return []
        if not can_look_ahead(self.rows, self._exact):
            return []
        each = FEW_ROWS // len(rows) - 1 if self.rows.stepper else self._speculation.tokens
        found = []
        for row in rows:
            count = min(each, self._speculation.tokens, row.job.max_new_tokens - row.made - 1)
            found.append(row.proposer.propose(row.said, count) if row.proposer and count else [])
        return found

    def _verify(self, alive: list[tuple[int, _Row]], guesses: list[list[int]]) -> Iterator[Token]:
        """One step that reads guesses too: tokens are chosen as long as the guesses were right."""
        fed = [[row.token, *guess] for (_, row), guess in zip(alive, guesses, strict=True)]
        scores = verified(self.rows, [slot for slot, _ in alive], fed)
        for (slot, row), guess, after in zip(alive, guesses, scores, strict=True):
            for place, logits in enumerate(after):
                self._cache.lengths[slot] += 1
                token = self._advance(slot, row, logits)
                yield token
                right = place < len(guess) and row.token == guess[place]
                if token.finish is not None or not right:
                    break

    def _advance(self, slot: int, row: _Row, logits: Tensor, known: int | None = None) -> Token:
        """Choose the row's next token (`known` where it is the likeliest); free its slot if that
        ends it."""
        found = None
        if row.chooser is not None:
            choice = row.chooser.choose(logits)
            token, found = choice.token, choice.logprobs
        else:
            token = int(logits.argmax()) if known is None else known
        row.token, row.made = token, row.made + 1
        if row.proposer is not None:
            row.said.append(token)
        if token in row.job.ends:
            self._rows[slot] = None
            return Token(row.index, None, "stop")
        if row.made >= row.job.max_new_tokens:
            self._rows[slot] = None
            return Token(row.index, token, "length", found)
        return Token(row.index, token, None, found)

    def _drop_stopped(self) -> Iterator[Token]:
        if not self._stopped:
            return
        for index, job in [waiting for waiting in self._waiting if waiting[0] in self._stopped]:
            self._waiting.remove((index, job))
            yield Token(index, None, "cancelled")
        for slot, row in enumerate(self._rows):
            if row is not None and row.index in self._stopped:
                self._rows[slot] = None
                yield Token(row.index, None, "cancelled")

    def _compact(self) -> None:
        """Once nothing waits, decode only the rows still alive (in steps, copying is not free)."""
        alive = [slot for slot, row in enumerate(self._rows) if row is not None]
        if self._waiting or not alive or len(alive) > 0.7 * len(self._rows):
            return
        self._cache.keep(self.rows.tensor(alive))
        self._rows = [self._rows[slot] for slot in alive]


def together(jobs: int, each: int, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES) -> int:
    """How many of so many jobs are decoded at once, where each takes `each` bytes of cache."""
    return max(1, min(slots, jobs, cache_bytes // max(each, 1)))


def _by_length(jobs: Sequence[Job]) -> list[int]:
    return sorted(range(len(jobs)), key=lambda i: len(jobs[i].prompt))
