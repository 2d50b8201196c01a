"""What a client may ask: OpenAI's chat and completion requests, every number bounded, here or where
it is used (`lm.Sampling`).

A field that would change the answer and is not supported here is refused unless it holds the value
that means "off"; fields that cannot change the answer (`user`, `metadata` ...) are accepted by
name; all others are unknown. `top_k` is an extension. Without `temperature` the answer is greedy,
as everywhere in Tutelage, unless `top_p` or `top_k` is given: then it is 1.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tutelage.config import Frozen
from tutelage.lm import Message, Prompt, Sampling

Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Short = Annotated[str, StringConstraints(max_length=512)]
Text = Annotated[str, StringConstraints(max_length=4_000_000)]
Zero = Annotated[float, Field(ge=0, le=0, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Strict(Frozen):
    """No number as text, no truth value as number."""

    model_config = ConfigDict(strict=True)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class Shared(Strict):
    """The fields both kinds of request have."""

    model: Short
    max_tokens: Tokens | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Short | None = None
    n: Literal[1] | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _can_be_sampled(self) -> Self:
        self.sampling()
        return self

    def sampling(self) -> Sampling:
        """How tokens are chosen; a seed is drawn where none is given."""
        chosen = self.top_p is not None or self.top_k is not None
        temperature = self.temperature if self.temperature is not None else float(chosen)
        seed = self.seed if self.seed is not None else secrets.randbits(63)
        return Sampling(temperature, self.top_k, self.top_p, seed)

    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def limit(self) -> int | None:
        """The most new tokens the client asked for; None: as many as fit."""
        return self.max_tokens


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class Turn(Strict):
    """One message; the fields an answer carries may be sent back as null."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=256)]
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None

    def message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        parts = self.content
        return Message(
            role, parts if isinstance(parts, str) else "".join(part.text for part in parts)
        )


class ResponseFormat(Strict):
    type: Literal["text"]


class ChatRequest(Shared):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Tokens | None = None
    logprobs: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[str], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[Short, Short], Field(max_length=16)] | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> ChatRequest:
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens contradict each other")
        return self

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def prompts(self) -> list[Prompt]:
        return [tuple(turn.message() for turn in self.messages)]


class CompletionRequest(Shared):
    """POST /v1/completions: the prompt is continued as it is, without a chat template and without
    a run's few-shot turns."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    max_tokens: Tokens | None = 16
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None
    logprobs: None = None

    def prompts(self) -> list[Prompt]:
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)
