"""Many prompts answered at once: tokens in, tokens out.

Prompts join a running batch (`batch.py`), which is stepped until all have ended. Knows token ids
alone: text, templates and stop texts are `backends/local.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import TypeVar

import torch

from tutelage.data.pack import common_prefix
from tutelage.generate.batch import Batch
from tutelage.generate.job import Job, Token
from tutelage.generate.loop import Loop
from tutelage.generate.places import PART
from tutelage.generate.speculate import Speculation
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model
from tutelage.nn.cache import STEP, Cache

SLOTS = 64
"""Rows decoded together, at most."""
CACHE_BYTES = 600_000_000
"""What their own keys and values may take together; one row is answered whatever it takes."""

Result = TypeVar("Result")


class _End:
    """Nothing more comes."""


_END = _End()


class Engine:
    """Continuous batching over one model.

    `slots` rows at most are decoded together, with keys and values of at most `cache_bytes`. With
    `exact` no answer depends on its company. An encoder-decoder's encoder reads the prompt, and the
    answer begins after its start token. With `speculation` the few rows of a small batch take
    several tokens a step, the same. `use` puts an adapter of the model in place, None the base;
    `mix` puts one in place for each row of a step, and says False where it cannot.
    """

    def __init__(
        self, model: Model, *, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES,
        exact: bool = False, speculation: Speculation | None = None,
        use: Callable[[str | None], None] | None = None,
        mix: Callable[[Sequence[str | None]], bool] | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.speculation = speculation
        self.slots = slots
        self.cache_bytes = cache_bytes
        self.exact = exact
        self._use = use or (lambda _: None)
        self._mix = mix
        self.loop: Loop | None = None

    def start(self, room: int, source: int) -> None:
        """From now on all callers, in whatever threads, share one batch and the thread that steps
        it. No row may have more than `room` tokens, nor an encoder read more than `source`; there
        are as many blocks as the bytes allow, or as one row takes."""
        most = -(-room // STEP)
        blocks = max(most, min(self.cache_bytes // self.bytes_of(STEP), self.slots * most))
        if isinstance(self.model, EncoderDecoder):
            each = self.bytes_of(room, source)
            self.slots = together(self.slots, each, self.slots, self.cache_bytes)
            blocks = self.slots * most
        self.loop = Loop(
            lambda: Batch(
                self.model, self.slots, room, blocks, exact=self.exact,
                speculation=self.speculation, use=self._use, mix=self._mix,
            )
        )  # fmt: skip

    def run(self, jobs: Sequence[Job], stopped: Container[int] = ()) -> Iterator[Token]:
        """Answer all jobs; each ends with one Token that has `finish` set.

        `stopped` holds the jobs whose reader wants no more; it is looked at before each step, and
        the reader may add to it. Runs that are read in turn do not disturb each other. Raises what
        a job's guide raised.
        """
        if self.loop is not None:
            yield from self.loop.run(jobs, stopped)
            return
        if not jobs:
            return
        batch = self._batch(jobs)
        order = range(len(jobs)) if self.exact else _by_length(jobs)
        for index in order:
            batch.add(jobs[index], index, stopped)
        while batch.busy:
            for _, token in batch.step():
                if token.error is not None:
                    raise token.error
                yield token

    def call(self, adapter: str | None, function: Callable[[], Result]) -> Result:
        """What `function` makes of the model with this adapter, while nobody else uses it."""

        def called() -> Result:
            self._use(adapter)
            return function()

        return called() if self.loop is None else self.loop.call(called)

    def between(
        self, adapter: str | None, steps: Callable[[], Iterator[Result]]
    ) -> Iterator[Result]:
        """The same of what comes step by step."""
        made = steps()
        while True:
            found = self.call(adapter, lambda: next(made, _END))
            if isinstance(found, _End):
                return
            yield found

    def counts(self) -> dict[str, float]:
        """What the shared batch holds now and did so far; readable from any thread."""
        batch = None if self.loop is None else self.loop.batch
        if batch is None:
            return {}
        return {
            "rows_running": len(batch.running),
            "rows_waiting": len(batch.places.waiting),
            "blocks": batch.blocks.count,
            "cache_bytes": batch.blocks.count * self.bytes_of(STEP),
            "blocks_held": batch.blocks.held,
            "blocks_remembered": batch.blocks.remembered,
            "prompt_tokens_reused_total": batch.counts.reused_tokens,
            "prompt_tokens_read_total": batch.counts.read_tokens,
            "preemptions_total": batch.counts.preempted,
        }

    def _batch(self, jobs: Sequence[Job]) -> Batch:
        """Just large enough for these jobs, as far as the bytes go."""
        encodes = isinstance(self.model, EncoderDecoder)
        alone = encodes or any(job.both for job in jobs)
        shared = 0 if alone else common_prefix([job.prompt for job in jobs])
        unit = PART if self.exact else STEP
        source = max(len(job.prompt) for job in jobs) if encodes else 0
        room = max(len(job.read(self.model).ids) + job.max_new_tokens for job in jobs)
        prefix, own = shared // unit * unit, room - shared // unit * unit
        each = self.bytes_of(own, source)
        slots = min(self.slots, len(jobs))
        full = together(len(jobs), each, self.slots, self.cache_bytes)
        # Rows seldom need all the room they may: more of them than surely fit can begin.
        slots = full if encodes or self.exact else slots
        blocks = (prefix + STEP - 1) // STEP + full * -(-own // STEP)
        return Batch(
            self.model, slots, room, max(blocks, -(-room // STEP)), exact=self.exact,
            speculation=self.speculation, use=self._use, mix=self._mix, patient=True,
        )  # fmt: skip

    def bytes_of(self, tokens: int, source: int = 0) -> int:
        """Bytes of the keys and values of one row of so many tokens."""
        model = self.model
        item = torch.empty(0, dtype=model.compute).element_size()
        shape = (model.heads.key_value, model.heads.width)
        narrow = model.narrow_cache
        return Cache.bytes_per_slot(model.layers, tokens, shape, item, source, narrow)


def together(jobs: int, each: int, slots: int = SLOTS, cache_bytes: int = CACHE_BYTES) -> int:
    """How many of so many jobs are decoded at once, where each takes `each` bytes of cache."""
    return max(1, min(slots, jobs, cache_bytes // max(each, 1)))


def _by_length(jobs: Sequence[Job]) -> list[int]:
    return sorted(range(len(jobs)), key=lambda i: len(jobs[i].prompt))
