"""The settings that chat and completion requests share, under OpenAI's and vLLM's names.

Ranges stand where they are used (`decoding.py`); here types and sizes are bounded. Without
`temperature` the answer is greedy, as everywhere in Tutelage, unless something asks for variety
(`top_p`, `top_k`, `min_p`, `typical_p`, several answers): then it is 1.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tutelage.config import Frozen
from tutelage.decoding import Beam, Contrastive, Guided, Penalties, Sampling, hold
from tutelage.errors import ConfigError
from tutelage.lm import Prompt, Request
from tutelage.prompts.best_of import drawn

Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Short = Annotated[str, StringConstraints(max_length=512)]
Text = Annotated[str, StringConstraints(max_length=4_000_000)]
Form = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Schema = dict[str, Any] | Form
LARGEST_SCHEMA = 100_000
"""Characters of a schema, a pattern or a grammar."""


class Strict(Frozen):
    """No number as text, no truth value as number."""

    model_config = ConfigDict(strict=True)


class StructuredOutputs(Strict):
    """vLLM's object: one of its fields says what the answer must be."""

    json_: Schema | None = Field(None, alias="json")
    regex: Form | None = None
    choice: Annotated[list[Short], Field(min_length=1, max_length=1000)] | None = None
    grammar: Form | None = None
    json_object: bool | None = None

    def guides(self) -> list[Guided]:
        return guides(self.json_, self.regex, self.choice, self.grammar, self.json_object)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class Settings(Strict):
    """The fields both kinds of request have."""

    model: Short
    max_tokens: Tokens | None = None
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Short | None = None
    n: int | None = None
    best_of: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    logit_bias: Annotated[dict[Short, float], Field(max_length=1024)] | None = None
    use_beam_search: bool | None = None
    beam_width: int | None = None
    beam_groups: int | None = None
    length_penalty: float | None = None
    diversity_penalty: float | None = None
    early_stopping: bool | None = None
    penalty_alpha: float | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: Form | None = None
    guided_choice: Annotated[list[Short], Field(min_length=1, max_length=1000)] | None = None
    guided_grammar: Form | None = None

    @model_validator(mode="after")
    def _can_be_answered(self) -> Self:
        """Everything but the prompt is held to its ranges before the request waits in line."""
        if self.stream and self.best_of is not None and self.best_of > (self.n or 1):
            raise ConfigError("the best of several answers cannot be streamed", field="best_of")
        try:
            self.requests("", 1_000_000 if self.limit() is None else self.limit() or 0)
        except ConfigError as error:
            names = {"min_new_tokens": "min_tokens", "penalties": "repetition_penalty"}
            error.field = names.get(error.field or "", error.field)
            raise
        return self

    def requests(self, prompt: Prompt, new_tokens: int) -> list[Request]:
        """One request, or one for each answer that is drawn. Raises ConfigError."""
        request = Request(
            prompt, new_tokens, self.sampling(), self.stops(), self.min_tokens or 0,
            self.alternatives(), self.guided(), self.search(), self.prompt_alternatives(),
        )  # fmt: skip
        if request.search is not None:
            return [request]
        return drawn(request, self.answers, self.best_of)

    @property
    def answers(self) -> int:
        """How many choices each prompt gets."""
        return 1 if self.n is None else self.n

    def shares(self) -> tuple[int, int]:
        """How many answers are drawn to each prompt, and how many choices a search makes of one."""
        if self.use_beam_search:
            return 1, self.answers
        return max(self.answers, self.best_of or 1), 1

    def sampling(self) -> Sampling:
        """How tokens are chosen; a seed is drawn where none is given."""
        varied = (self.top_p, self.top_k, self.min_p, self.typical_p)
        searched = self.use_beam_search or self.penalty_alpha is not None
        several = max(self.answers, self.best_of or 1) > 1
        chosen = not searched and (several or any(value is not None for value in varied))
        temperature = self.temperature if self.temperature is not None else float(chosen)
        penalties = Penalties(
            1.0 if self.repetition_penalty is None else self.repetition_penalty,
            self.presence_penalty or 0.0,
            self.frequency_penalty or 0.0,
            self.no_repeat_ngram_size or 0,
        )
        return Sampling(
            temperature=temperature,
            top_k=None if self.penalty_alpha is not None else self.top_k,
            top_p=self.top_p,
            seed=self.seed if self.seed is not None else secrets.randbits(63),
            min_p=self.min_p,
            typical_p=self.typical_p,
            penalties=penalties,
            logit_bias=tuple(_bias(token, v) for token, v in (self.logit_bias or {}).items()),
        )

    def search(self) -> Beam | Contrastive | None:
        """vLLM's switch for beam search: `n` beams, all given out, unless `beam_width` says how
        many more there are."""
        given = (self.beam_width, self.beam_groups, self.length_penalty, self.diversity_penalty)
        if not self.use_beam_search:
            idle = any(value is not None for value in given) or self.early_stopping
            hold("use_beam_search", bool(self.use_beam_search), not idle, "true for beams")
            if self.penalty_alpha is None:
                return None
            return Contrastive.asked(self.penalty_alpha, self.top_k, self.answers, self.best_of)
        alone = self.penalty_alpha is None
        hold("penalty_alpha", self.penalty_alpha, alone, "absent: beams are another search")
        hold("best_of", self.best_of, self.best_of is None, "absent: beams are not drawn")
        return Beam(
            width=max(self.answers, 1) if self.beam_width is None else self.beam_width,
            length_penalty=1.0 if self.length_penalty is None else self.length_penalty,
            groups=1 if self.beam_groups is None else self.beam_groups,
            diversity=self.diversity_penalty or 0.0,
            returned=self.answers,
            early_stopping=bool(self.early_stopping),
        )

    def guided(self) -> Guided | None:
        """What the answer must be, where something says so; one thing."""
        given = guides(self.guided_json, self.guided_regex, self.guided_choice, self.guided_grammar)
        if self.structured_outputs is not None:
            given += self.structured_outputs.guides()
        given += self.more_guides()
        if len(given) > 1:
            raise ConfigError(
                f"{given[0].name} and {given[1].name} contradict each other: one form",
                field=given[1].name,
            )
        return given[0] if given else None

    def more_guides(self) -> list[Guided]:
        """What other fields of a kind of request ask the answer to be."""
        return []

    def alternatives(self) -> int | None:
        """How many likeliest tokens are told with each token's log-probability; None: nothing."""
        return None

    def prompt_alternatives(self) -> int | None:
        """The same of the prompt's tokens."""
        return None

    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def limit(self) -> int | None:
        """The most new tokens the client asked for; None: as many as fit."""
        return self.max_tokens


def guides(
    schema: dict[str, Any] | str | None,
    regex: str | None,
    choice: list[str] | None,
    grammar: str | None,
    any_object: bool | None = None,
) -> list[Guided]:
    """All that is given, as guides. Raises ConfigError."""
    found = []
    if schema is not None:
        found.append(Guided("json_schema", as_schema(schema, "guided_json")))
    if regex is not None:
        found.append(Guided("regex", regex))
    if choice is not None:
        found.append(Guided("choice", choices=tuple(choice)))
    if grammar is not None:
        found.append(Guided("grammar", grammar))
    if any_object:
        found.append(Guided("json_object"))
    return found


def as_schema(schema: dict[str, Any] | str, field: str) -> str:
    """A schema as text, of bounded length."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    hold(field, len(text), len(text) <= LARGEST_SCHEMA, f"at most {LARGEST_SCHEMA} characters")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{field} is not JSON", field=field, expected="a JSON schema") from None
    return text


def _bias(token: str, value: float) -> tuple[int, float]:
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise ConfigError(
            "logit_bias names tokens by their ids", field="logit_bias", expected="ids as text"
        )
    return int(token), value
