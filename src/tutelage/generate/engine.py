"""Many prompts answered at once: tokens in, tokens out.

Prompts are read packed (`data/pack.py`), what they all begin with only once; answers are decoded
one token a row and step. A row that ends frees its slot, and waiting prompts take free slots in
groups. Knows token ids alone: text, templates and stop texts are `backends/local.py`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tutelage.data.pack import Example, common_prefix, memory_of, pack
from tutelage.generate.sample import choose
from tutelage.generate.step import Stepper
from tutelage.lm import FinishReason, Sampling
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model, encoded
from tutelage.nn.cache import Cache, DecodeStep, FillPrefix, ReadPrompts
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout

READ_TOKENS = 2048
"""Prompt tokens read in one forward pass."""
SLOTS = 64
"""Rows decoded together, at most."""
CACHE_BYTES = 600_000_000
"""What their own keys and values may take together; one row is answered whatever it takes."""


@dataclass(frozen=True)
class Job:
    """One prompt; the answer ends at a token in `ends` (not given out) or at the limit. With `both`
    the prompt's tokens see those behind them too, as a prefix language model was trained."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    ends: frozenset[int]
    sampling: Sampling = field(default_factory=Sampling)
    both: bool = False


@dataclass(frozen=True)
class Token:
    """What happened to job `index`: a new token (None at an end token), and whether it is over."""

    index: int
    token: int | None
    finish: FinishReason | None


@dataclass
class _Row:
    index: int
    job: Job
    token: int
    made: int
    generator: torch.Generator | None


class Engine:
    """Continuous batching over one model.

    `slots` rows at most are decoded together, fewer where their caches would exceed `cache_bytes`.
    `exact` answers one job after the other and shares nothing, so that no answer depends on its
    company. An encoder-decoder's encoder reads the prompt, and the answer begins after its start
    token.
    """

    def __init__(
        self, model: Model, *, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES,
        exact: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
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
            batch.read_prefix(jobs[0].prompt[:prefix])
        yield from batch.run()

    def _cache(self, jobs: Sequence[Job], prefix: int) -> Cache:
        model = self.model
        like = torch.empty(0, dtype=model.compute, device=model.device)
        shape = (model.heads.key_value, model.heads.width)
        layers = model.layers
        source = max(len(job.prompt) for job in jobs) if self._encodes else 0
        room = max(len(read_first(model, job, prefix).ids) + job.max_new_tokens for job in jobs)
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
        # Bound anew: pointers into weights that were replaced since would answer for the old ones.
        self._stepper = Stepper.of(engine.model)
        self._cache = cache
        self._waiting = waiting
        self._stopped = stopped
        self._rows: list[_Row | None] = [None] * cache.slots

    def read_prefix(self, ids: tuple[int, ...]) -> None:
        tokens = self._tensor(ids)
        last = self._tensor([len(ids) - 1])
        positions = torch.arange(len(ids), device=tokens.device)
        self.model.hidden(Tokens(tokens, positions), FillPrefix(self._cache), last)

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
                generator = None
                if job.sampling.temperature:
                    generator = torch.Generator().manual_seed(job.sampling.seed)
                row = _Row(index, job, 0, 0, generator)
                self._rows[slot] = row
                yield self._advance(slot, row, row_logits)

    def _read(self, group: list[tuple[int, int, Job]]) -> Tensor:
        """Logits after each prompt of the group, whose keys are now in their slots."""
        cache, prefix = self._cache, self._cache.prefix_length
        rows = [read_first(self.model, job, prefix) for _, _, job in group]
        plan = pack(rows, share=False)
        memory = memory_of(rows) if rows[0].memory else None
        ids, places = self._tensor(plan.ids), self._tensor(plan.positions)
        lengths = self._tensor([len(row.ids) for row in rows])
        slots = self._tensor([slot for slot, _, _ in group])
        attend = ReadPrompts(
            cache, Layout.of(plan, str(ids.device), memory),
            torch.repeat_interleave(slots, lengths), places, slots,
            self._tensor([len(row.memory) for row in rows]),
        )  # fmt: skip
        read, select = encoded(self.model, memory), self._tensor(plan.select)
        hidden = self.model.hidden(Tokens(ids, places + prefix), attend, select, read)
        cache.lengths[slots] = lengths
        return self.model.logits(hidden)

    def _decode(self) -> Iterator[Token]:
        """One step of every row that is alive, by the kernel where it is faster."""
        cache = self._cache
        alive = [(slot, row) for slot, row in enumerate(self._rows) if row is not None]
        if self._stepper is not None and len(alive) <= self._stepper.most_rows:
            slots = self._tensor([slot for slot, _ in alive])
            ids = self._tensor([row.token for _, row in alive])
            logits = self._stepper.step(cache, slots, ids)
            cache.lengths[slots] += 1
        else:
            ids = self._tensor([row.token if row else 0 for row in self._rows])
            positions = cache.lengths + cache.prefix_length
            hidden = self.model.hidden(Tokens(ids, positions), DecodeStep(cache))
            slots = self._tensor([slot for slot, _ in alive])
            logits = self.model.logits(hidden.index_select(0, slots))
            cache.lengths[slots] += 1
        greedy = logits.argmax(-1).tolist()
        for (slot, row), scores, known in zip(alive, logits, greedy, strict=True):
            yield self._advance(slot, row, scores, None if row.job.sampling.temperature else known)

    def _advance(self, slot: int, row: _Row, logits: Tensor, known: int | None = None) -> Token:
        """Choose the row's next token; free its slot if that ends it."""
        token = choose(logits, row.job.sampling, row.generator) if known is None else known
        row.token, row.made = token, row.made + 1
        if token in row.job.ends:
            self._rows[slot] = None
            return Token(row.index, None, "stop")
        if row.made >= row.job.max_new_tokens:
            self._rows[slot] = None
            return Token(row.index, token, "length")
        return Token(row.index, token, None)

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
        self._cache.keep(self._tensor(alive))
        self._rows = [self._rows[slot] for slot in alive]

    def _tensor(self, values: Sequence[int] | object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.long, device=self.model.device)


def read_first(model: Model, job: Job, prefix: int = 0) -> Example:
    """What is read before a job's first token is chosen, but for the `prefix` read already."""
    if isinstance(model, EncoderDecoder):
        return Example.read((model.start,), memory=job.prompt)
    return Example.read(job.prompt[prefix:], lead=len(job.prompt) if job.both else 0)


def together(jobs: int, each: int, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES) -> int:
    """How many of so many jobs are decoded at once, where each takes `each` bytes of cache."""
    return max(1, min(slots, jobs, cache_bytes // max(each, 1)))


def _by_length(jobs: Sequence[Job]) -> list[int]:
    return sorted(range(len(jobs)), key=lambda i: len(jobs[i].prompt))
