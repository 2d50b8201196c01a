"""What a client may ask: OpenAI's chat and completion requests, every number bounded, here or where
it is used (`decoding.py`).

A field that would change the answer and is not supported here is refused unless it holds the value
that means "off"; fields that cannot change the answer (`user`, `metadata` ...) are accepted by
name; all others are unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tutelage.decoding import Guided
from tutelage.errors import ConfigError
from tutelage.lm import Message, Prompt
from tutelage.serve.settings import Settings, Short, Strict, Text, Tokens, as_schema
from tutelage.serve.tools import (
    ToolCall,
    ToolChoice,
    Tools,
    calling,
    calls_in,
    must_call,
    offer,
    response_text,
    system_text,
)


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class Turn(Strict):
    """One message; the fields an answer carries may be sent back."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Short | None = Field(None, validate_default=True)
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=256)] | None = Field(
        None, validate_default=True
    )
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None

    @field_validator("tool_call_id")
    @classmethod
    def _answers_a_call(cls, value: str | None, given: ValidationInfo) -> str | None:
        if value is None and given.data.get("role") == "tool":
            raise ValueError("tool_call_id says which call a tool answers")
        return value

    @field_validator("content")
    @classmethod
    def _says_something(cls, value: Any, given: ValidationInfo) -> Any:
        if value is None and not given.data.get("tool_calls"):
            raise ValueError("content is missing")
        return value

    def message(self, through_template: bool = False) -> Message:
        """Calls and results of tools as the template takes them, or as the text that stands for
        them."""
        parts = self.content if isinstance(self.content, list) else []
        said = self.content if isinstance(self.content, str) else "".join(p.text for p in parts)
        if self.role == "tool":
            return (
                Message("tool", said) if through_template else Message("user", response_text(said))
            )
        if self.role == "assistant" and self.tool_calls and through_template:
            return calling(said, self.tool_calls)
        calls = [call.text() for call in self.tool_calls or ()]
        if self.role == "assistant":
            return Message("assistant", "\n".join([*([said] if said else []), *calls]))
        return Message("system" if self.role == "developer" else self.role, said)


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
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[Short, Short], Field(max_length=16)] | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> ChatRequest:
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens contradict each other")
        if self.tool_choice in (None, "none", "auto"):
            pass
        elif not self.tools:
            raise ConfigError("tool_choice needs tools beside it", field="tool_choice")
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
        found = [] if self.response_format is None else self.response_format.guides()
        return found + must_call(self.tools or [], self.tool_choice)

    def calls(self) -> Callable[[str], tuple[str | None, list[dict[str, Any]]]] | None:
        """What reads the calls out of an answer; None where there are no tools to call."""
        if not self.tools or self.tool_choice == "none":
            return None
        names = [tool.function.name for tool in self.tools]
        bare = self.tool_choice not in (None, "auto")
        return lambda text: calls_in(text, names, bare)

    def prompts(self, through_template: bool = False) -> list[Prompt]:
        """The conversation; `through_template`: the model's own template tells of the tools."""
        turns = [turn.message(through_template) for turn in self.messages]
        if self.tools and self.tool_choice != "none":
            if through_template:
                turns.insert(0, offer(self.tools))
                return [tuple(turns)]
            told = system_text(self.tools)
            if turns[0].role == "system":
                told = f"{turns.pop(0).content}\n\n{told}"
            turns.insert(0, Message("system", told))
        return [tuple(turns)]


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

    def calls(self) -> None:
        """Raw text has no tools."""
        return None

    def echoed(self) -> list[str]:
        """The prompts, where answers begin with them."""
        return [str(prompt) for prompt in self.prompts()] if self.echo else []

    def prompt_alternatives(self) -> int | None:
        return self.logprobs if self.echo else None

    def prompts(self, _through_template: bool = False) -> list[Prompt]:
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)


class EmbeddingRequest(Strict):
    """POST /v1/embeddings."""

    model: Short
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    user: Short | None = None

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else list(self.input)
