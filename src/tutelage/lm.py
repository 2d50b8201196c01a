"""The seam between text and tensors: what every language model can be asked, in four verbs.

Above this file there is only text (`evaluate/`, `apps/`, `serve/`, `lifecycle/`); below it integers
and tensors. A local model, an OpenAI-compatible server and a scripted fake all answer the same four
verbs, so everything above runs on any of them. Knows nothing of torch, files or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Prompt = str | tuple[Message, ...]
"""A string is given to the model as it is (raw); messages go through its chat template."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy and ignores the rest."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """One prompt to be continued. The answer ends at the model's end token or a `stop` text."""

    prompt: Prompt
    max_new_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A bit of new text of request number `index`, never ending inside a character."""

    index: int
    text: str


@dataclass(frozen=True)
class Completion:
    """The whole answer to request number `index`; `text` excludes prompt, end token and stop text.

    `tokens` are the generated ids where the model reveals them, else ().
    """

    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[int, ...] = ()


Event = Piece | Completion


@dataclass(frozen=True)
class Score:
    """Sum of the natural-log probabilities of a continuation's tokens, their number, and whether
    greedy decoding would have produced exactly them."""

    log_probability: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. `context` is in tokens, None if unknown."""

    name: str
    generate: bool = True
    score: bool = False
    embed: bool = False
    chat: bool = False
    context: int | None = None


class LM(Protocol):
    """A language model as seen from the world of text."""

    def capabilities(self) -> Capabilities: ...

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """Answer all requests; events of different requests interleave. Each request ends with one
        Completion. `cancelled(index)` is asked between steps; true ends that request early.
        Raises RequestError if a prompt does not fit the context: nothing is ever truncated."""
        ...

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """Log-probability of each continuation after its context."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def count_tokens(self, prompt: Prompt) -> int | None:
        """Length of the prompt in tokens as the model will see it, None where unknown."""
        ...


def complete(lm: LM, requests: Sequence[Request]) -> list[Completion]:
    """All answers, in the order of the requests."""
    done = [event for event in lm.generate(requests) if isinstance(event, Completion)]
    return sorted(done, key=lambda completion: completion.index)
