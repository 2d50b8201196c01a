"""The seam between text and tensors: what every language model can be asked, in four verbs.

Above this file there is only text (`evaluate/`, `apps/`, `serve/`, `lifecycle/`); below it integers
and tensors. A local model, an OpenAI-compatible server and a scripted fake all answer the same four
verbs, so everything above runs on any of them. Knows nothing of torch, files or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from tutelage.decoding import MOST_LOGPROBS, Beam, Contrastive, Guided, Sampling, hold
from tutelage.errors import ConfigError

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Offer(Message):
    """No turn, but before all of them: the functions that may be called, OpenAI's list as JSON.
    Only for models of which `Capabilities.tools` is true, as are calls and turns of role "tool"."""

    role: Role = "system"
    content: str = ""
    tools: str = "[]"


@dataclass(frozen=True)
class Calling(Message):
    """A turn of the assistant that calls functions: OpenAI's list of calls as JSON, but with
    arguments as objects, as chat templates expect them."""

    role: Role = "assistant"
    content: str = ""
    calls: str = "[]"


Prompt = str | tuple[Message, ...]
"""A string is given to the model as it is (raw); messages go through its chat template."""


@dataclass(frozen=True)
class Request:
    """One prompt to be continued. The answer ends at the model's end token or a `stop` text, but
    has at least `min_new_tokens`. `logprobs` asks for the log-probability of each token and of so
    many alternatives. `search` looks further than one token ahead.

    Raises ConfigError naming a field that cannot be what it is, or contradicts another.
    """

    prompt: Prompt
    max_new_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    min_new_tokens: int = 0
    logprobs: int | None = None
    guided: Guided | None = None
    search: Beam | Contrastive | None = None
    prompt_logprobs: int | None = None
    """The same of the prompt's tokens; with it `max_new_tokens` may be 0."""

    def __post_init__(self) -> None:
        fewest = 1 if self.prompt_logprobs is None else 0
        right = self.max_new_tokens >= fewest
        hold("max_new_tokens", self.max_new_tokens, right, f"{fewest} or more")
        # An empty one would end every answer before it begins.
        hold("stop", self.stop, "" not in self.stop, "texts of at least one character")
        least, most = self.min_new_tokens, self.max_new_tokens
        hold("min_new_tokens", least, 0 <= least <= most, f"0 to max_new_tokens, {most}")
        for name, asked in (("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)):
            right = asked is None or 0 <= asked <= MOST_LOGPROBS
            hold(name, asked, right, f"0 to {MOST_LOGPROBS}")
        if self.search is not None:
            self._hold_search(self.search)

    def _hold_search(self, search: Beam | Contrastive) -> None:
        """A search decides by itself what a token is worth."""
        name = "beam_width" if isinstance(search, Beam) else "penalty_alpha"
        for field_name, given in (
            ("temperature", self.sampling.temperature > 0),
            ("guided", self.guided is not None),
            ("logprobs", self.logprobs is not None),
            ("penalties", not self.sampling.plain),
        ):
            if given:
                raise ConfigError(
                    f"{field_name} and {name} contradict each other: a search scores answers by "
                    "the model's own probabilities",
                    field=name,
                    got=field_name,
                    expected=f"{name} without {field_name}",
                )


@dataclass(frozen=True)
class TokenLogprob:
    """A token: its id, text and bytes, the natural logarithm of the probability the model itself
    gave it (before any setting; None for a first token), and the likeliest tokens in its place."""

    token: int
    text: str
    bytes: tuple[int, ...]
    log_probability: float | None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A bit of new text of request number `index`, never ending inside a character, with the
    log-probabilities of the tokens it became certain with, where they were asked for."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Completion:
    """The whole answer to request number `index`; `text` excludes prompt, end token and stop text.

    `tokens` are the generated ids where the model reveals them, else (). `logprobs` are those asked
    for; `score` is what a search thought of the answer, and `others` its next best ones.
    """

    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    score: float | None = None
    others: tuple[Completion, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


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
    """What a model can do. `context` is in tokens, None if unknown. `together` says how many calls
    of `generate`, each in a thread of its own, are answered side by side."""

    name: str
    generate: bool = True
    score: bool = False
    embed: bool = False
    chat: bool = False
    context: int | None = None
    together: int = 1
    writes: bool = True
    """Whether answers take room in the context; those of a task's head do not."""
    labels: tuple[str, ...] = ()
    """What alone it answers, or words that its answers are made of; () is any text."""
    tools: bool = False
    """Whether its chat template tells of functions, in the form that `text/tool_calls` reads."""
    metrics: tuple[str, ...] = ()
    """By what answers are measured where nothing else is asked for; () leaves it to the asker."""


@runtime_checkable
class Counted(Protocol):
    """A language model that says what its engine does."""

    def counts(self) -> Mapping[str, float]:
        """By name, what is so now, and under names in `_total` what happened so far."""
        ...


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
