"""What a client may ask: OpenAI's chat and completion requests, every number bounded, here or where
it is used (`decoding.py`).

A field that would change the answer and is not supported here is refused unless it holds the value
that means "off"; fields that cannot change the answer (`user`, `metadata` ...) are accepted by
name; all others are unknown.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tutelage.decoding import Guided
from tutelage.errors import ConfigError
from tutelage.lm import Message, Prompt
from tutelage.serve.settings import Settings, Short, Strict, Text, Tokens, as_schema


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


class NamedSchema(Strict):
    """A JSON schema as OpenAI's `response_format` holds it."""

    name: Short
    schema_: dict[str, Any] = Field(alias="schema")
    description: Text | None = None
    strict: bool | None = None


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    def guides(self) -> list[Guided]:
        if self.type == "json_object":
            return [Guided("json_object", field="response_format")]
        if self.type == "text":
            return []
        if self.json_schema is None:
            raise ConfigError("json_schema is missing", field="response_format.json_schema")
        text = as_schema(self.json_schema.schema_, "response_format")
        return [Guided("json_schema", text, field="response_format")]


class ChatRequest(Settings):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[str], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[Short, Short], Field(max_length=16)] | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> ChatRequest:
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens contradict each other")
        if self.top_logprobs is not None and not self.logprobs:
            raise ConfigError("top_logprobs needs logprobs beside it", field="top_logprobs")
        return self

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def echoed(self) -> list[str]:
        return []

    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def more_guides(self) -> list[Guided]:
        return [] if self.response_format is None else self.response_format.guides()

    def prompts(self) -> list[Prompt]:
        return [tuple(turn.message() for turn in self.messages)]


class CompletionRequest(Settings):
    """POST /v1/completions: the prompt is continued as it is, without a chat template and without
    a run's few-shot turns."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    max_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = 16
    echo: bool | None = None
    suffix: None = None
    logprobs: int | None = None

    @model_validator(mode="after")
    def _echoes(self) -> CompletionRequest:
        if self.max_tokens == 0 and not (self.echo and self.logprobs is not None):
            raise ConfigError(
                "max_tokens 0 asks for nothing but beside echo and logprobs", field="max_tokens"
            )
        if self.echo and (self.stream or self.use_beam_search):
            raise ConfigError("an echo is given with whole answers that are drawn", field="echo")
        return self

    def alternatives(self) -> int | None:
        return self.logprobs

    def echoed(self) -> list[str]:
        """The prompts, where answers begin with them."""
        return [str(prompt) for prompt in self.prompts()] if self.echo else []

    def prompt_alternatives(self) -> int | None:
        return self.logprobs if self.echo else None

    def prompts(self) -> list[Prompt]:
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)


class EmbeddingRequest(Strict):
    """POST /v1/embeddings."""

    model: Short
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    user: Short | None = None

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else list(self.input)
