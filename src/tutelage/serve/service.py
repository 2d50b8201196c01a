"""The models by id: what each can do, what a request may cost, and the line to the worker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.errors import did_you_mean
from tutelage.lm import LM, Capabilities, Completion, Prompt, Request
from tutelage.prompts.best_of import best
from tutelage.serve.faults import Fault
from tutelage.serve.schema import ChatRequest, CompletionRequest
from tutelage.serve.worker import Ticket, Worker

Asked = ChatRequest | CompletionRequest


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    body_bytes: int = 2_000_000
    new_tokens: int = 4096
    """Where the client names no limit, and the most where the model's context is unknown."""


class Service:
    """What every route needs: the models, the worker that owns them, and the limits."""

    def __init__(self, models: Mapping[str, LM], worker: Worker, limits: Limits) -> None:
        self.models = dict(models)
        self.worker = worker
        self.limits = limits
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

    def ticket(self, asked: Asked) -> Ticket:
        """Check what can be checked at once, and stand in the line. Raises Fault."""
        self.capabilities(asked.model)
        lm = self.models[asked.model]

        def prepare() -> list[Request]:
            return [
                request
                for prompt in asked.prompts()
                for request in asked.requests(prompt, self._new_tokens(asked, lm, prompt))
            ]

        ticket = Ticket(lm, prepare)
        self.worker.submit(ticket)
        return ticket

    def _new_tokens(self, asked: Asked, lm: LM, prompt: Prompt) -> int:
        """How many tokens may be added to `prompt`. Raises Fault 400 where they do not fit."""
        wanted = asked.limit()
        context = self.capabilities(asked.model).context
        used = None if context is None else lm.count_tokens(prompt)
        if context is None or used is None:
            return _within(wanted, self.limits.new_tokens)
        if used + (wanted or 1) > context:
            raise Fault(
                400,
                f"the prompt's {used} tokens and {wanted or 1} new ones are more than "
                f"the {context} of the model's context",
                param="messages" if isinstance(asked, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        return wanted or min(context - used, self.limits.new_tokens)


def _within(wanted: int | None, most: int) -> int:
    if wanted is not None and wanted > most:
        raise Fault(
            400, f"at most {most} new tokens are given here", param="max_tokens", code="too_many"
        )
    return wanted or most


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
