"""The models by id: what each can do, what a request may cost, and the line to the worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.errors import did_you_mean
from tutelage.lm import LM, Capabilities, Completion, Counted, Event, Prompt, Request
from tutelage.prompts.best_of import best
from tutelage.serve.faults import Fault
from tutelage.serve.metrics import Metrics
from tutelage.serve.schema import ChatRequest, CompletionRequest, EmbeddingRequest
from tutelage.serve.worker import Ticket, Work, Worker, answering

Asked = ChatRequest | CompletionRequest
TEXTS_AT_ONCE = 32
"""Texts embedded before it is asked again whether the client still waits."""


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    body_bytes: int = 2_000_000
    new_tokens: int = 4096
    """Where the client names no limit, and the most where the model's context is unknown."""
    per_key: int = 64
    """Requests one key may have under way or waiting; more are told to come back."""


class Service:
    """What every route needs: the models, the worker that owns them, and the limits."""

    def __init__(self, models: Mapping[str, LM], worker: Worker, limits: Limits) -> None:
        self.models = dict(models)
        self.worker = worker
        self.limits = limits
        self.metrics = Metrics()
        self._created = int(time.time())
        self._capabilities = {name: lm.capabilities() for name, lm in models.items()}

    def capabilities(self, name: str) -> Capabilities:
        """Raises Fault 404 for an id that is not served."""
        if name not in self._capabilities:
            hint = did_you_mean(name, self.models) or "served: " + ", ".join(self.models)
            raise Fault(404, f"no such model; {hint}", param="model", code="model_not_found")
        return self._capabilities[name]

    def describe(self, name: str) -> dict[str, Any]:
        """OpenAI's model object; `max_model_len` (tokens) is the extension other servers use."""
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "tutelage",
            "max_model_len": self.capabilities(name).context,
        }

    def counts(self) -> dict[str, float]:
        """What the models' engines say they do. Several names of one engine say the same."""
        found: dict[str, float] = {}
        for lm in self.models.values():
            if isinstance(lm, Counted):
                found |= {f"tutelage_{name}": value for name, value in lm.counts().items()}
        return found

    def ticket(self, asked: Asked) -> Ticket:
        """Check what can be checked at once, and stand in the line. Raises Fault."""
        through_template = self.capabilities(asked.model).tools
        lm = self.models[asked.model]

        def prepare() -> list[Request]:
            return [
                request
                for prompt in asked.prompts(through_template)
                for request in asked.requests(prompt, self._new_tokens(asked, lm, prompt))
            ]

        return self._submitted(answering(lm, prepare))

    async def counted(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """The same events, their tokens and the time to the first of them counted."""
        begun, seen = time.perf_counter(), 0
        async for event in events:
            if not seen:
                seconds = time.perf_counter() - begun
                self.metrics.observe("tutelage_time_to_first_token_seconds", seconds)
            seen += 1
            if isinstance(event, Completion):
                read, made = event.prompt_tokens, event.completion_tokens
                self.metrics.count("tutelage_prompt_tokens_total", read)
                self.metrics.count("tutelage_generation_tokens_total", made)
                reason = event.finish_reason
                self.metrics.count("tutelage_answers_total", finish_reason=reason)
            yield event

    def embedding(self, asked: EmbeddingRequest) -> Ticket:
        """A place in the line for vectors of texts; its one event is the vectors and the number of
        tokens read. Raises Fault 400 where the model gives none."""
        if not self.capabilities(asked.model).embed:
            raise Fault(400, "this model gives no embeddings", param="model", code="no_embeddings")
        lm, texts = self.models[asked.model], asked.texts()

        def work(cancelled: Callable[[], bool]) -> Iterator[Any]:
            vectors: list[list[float]] = []
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                if cancelled():
                    return
                vectors += lm.embed(texts[start : start + TEXTS_AT_ONCE])
            yield vectors, sum(lm.count_tokens(text) or 0 for text in texts)

        return self._submitted(work)

    def _submitted(self, work: Work) -> Ticket:
        ticket = Ticket(work)
        self.worker.submit(ticket)
        return ticket

    def _new_tokens(self, asked: Asked, lm: LM, prompt: Prompt) -> int:
        """How many tokens may be added to `prompt`. Raises Fault 400 where they do not fit."""
        wanted = asked.limit()
        context = self.capabilities(asked.model).context
        used = None if context is None else lm.count_tokens(prompt)
        if context is None or used is None:
            return _within(wanted, self.limits.new_tokens)
        least = 1 if wanted is None else wanted
        if used + least > context:
            raise Fault(
                400,
                f"the prompt's {used} tokens and {least} new ones are more than "
                f"the {context} of the model's context",
                param="messages" if isinstance(asked, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        return min(context - used, self.limits.new_tokens) if wanted is None else wanted


def _within(wanted: int | None, most: int) -> int:
    if wanted is not None and wanted > most:
        raise Fault(
            400, f"at most {most} new tokens are given here", param="max_tokens", code="too_many"
        )
    return most if wanted is None else wanted


def choices(asked: Asked, completions: Sequence[Completion]) -> list[Completion]:
    """The answers to show, numbered: of each prompt's the best, or all that a search gave."""
    ordered = sorted(completions, key=lambda completion: completion.index)
    prompts = len(asked.prompts())
    each = max(1, len(ordered) // prompts)
    groups = [ordered[start : start + each] for start in range(0, len(ordered), each)]
    shown: list[Completion] = []
    for group in groups:
        found = [one for first in group for one in (first, *first.others)]
        if len(found) > asked.answers:
            found = best(found, asked.answers)
        shown += found
    return [replace(one, index=place) for place, one in enumerate(shown)]
