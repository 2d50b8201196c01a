"""The seam between text and tensors: what every language model can be asked, in four verbs.

Above this file there is only text (`evaluate/`, `apps/`, `serve/`, `lifecycle/`); below it integers
and tensors. A local model, an OpenAI-compatible server and a scripted fake all answer the same four
verbs, so everything above runs on any of them. Knows nothing of torch, files or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tutelage.errors import ConfigError

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
    """How the next token is chosen. `temperature` 0 is greedy and ignores the rest.

    Raises ConfigError naming a field that cannot be what it is.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _hold("temperature", self.temperature, 0 <= self.temperature <= 2, "0 to 2")
        _hold("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "1 or more")
        _hold("top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "above 0, at most 1")
        _hold("seed", self.seed, 0 <= self.seed < 2**63, "0 to 2^63 - 1")


@dataclass(frozen=True)
class Request:
    """One prompt to be continued. The answer ends at the model's end token or a `stop` text.

    Raises ConfigError naming a field that cannot be what it is.
    """

    prompt: Prompt
    max_new_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _hold("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more")
        # An empty one would end every answer before it begins.
        _hold("stop", self.stop, "" not in self.stop, "texts of at least one character")


def _hold(name: str, got: object, right: bool, expected: str) -> None:
    if not right:
        raise ConfigError(f"{name} must be {expected}", field=name, got=got, expected=expected)


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
