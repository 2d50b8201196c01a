"""OpenAI's answer objects from the seam's events. Knows nothing of HTTP or of models.

Answer("chat", "model").whole(choices, done)    chat.completion or text_completion
Answer("chat", "model").piece(Piece(0, "Par"))  one chunk of a stream
"""

from __future__ import annotations

import base64
import json
import secrets
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from tutelage.lm import Completion, Piece, TokenLogprob

Kind = Literal["chat", "text"]
Calls = Callable[[str], tuple[str | None, list[dict[str, Any]]]]
"""From an answer's text to what it says and the calls of tools in it."""


class Answer:
    """The objects of one answer: they share an id, a time and a model."""

    def __init__(
        self,
        kind: Kind,
        model: str,
        logprobs: bool = False,
        drawn: int = 1,
        found: int = 1,
        echoed: Sequence[str] = (),
        calls: Calls | None = None,
    ) -> None:
        """`logprobs`: every choice tells them, also where it has no token. Each prompt has `drawn`
        completions, and each completion `found` choices, its own and those of its others. `echoed`
        are the prompts that choices begin with; `calls` reads calls of tools out of an answer,
        which is then streamed at its end."""
        self._calls = calls
        self._chat = kind == "chat"
        self._logprobs, self._drawn, self._found = logprobs, drawn, found
        prefix = "chatcmpl-" if self._chat else "cmpl-"
        self._head = {
            "id": prefix + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }
        self._spoken: dict[int, bytearray] = {}
        self._echoed, self._choices = tuple(echoed), 0

    def whole(self, choices: Sequence[Completion], done: Sequence[Completion]) -> dict[str, Any]:
        """The object of an answer that is not streamed. `done` is all that was computed for it."""
        self._choices = len(choices)
        return {
            **self._head,
            "object": "chat.completion" if self._chat else "text_completion",
            "choices": [self._choice(completion) for completion in choices],
            "usage": usage(done, self._drawn),
        }

    def first(self) -> list[dict[str, Any]]:
        """The chunks that open a chat stream: they name the role."""
        if not self._chat:
            return []
        delta = {"delta": {"role": "assistant", "content": ""}}
        return [self._chunk(index, delta, None) for index in range(self._drawn * self._found)]

    def piece(self, piece: Piece, place: int = 0) -> dict[str, Any]:
        """A bit of a choice, the `place`-th that its completion has."""
        index, text = piece.index * self._found + place, piece.text
        body: dict[str, Any] = {"delta": {"content": text}} if self._chat else {"text": text}
        told = self._told(index, piece.logprobs) if self._logprobs else None
        return self._chunk(index, body, None, told)

    def ends(self, completion: Completion) -> Iterator[dict[str, Any]]:
        """The last chunk of each choice, behind the text of those that were not streamed."""
        body: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        for place, one in enumerate((completion, *completion.others)):
            index = completion.index * self._found + place
            said, reason = self._said(one.text, one)
            if self.held:
                for number, call in enumerate(said.get("tool_calls", ())):
                    call["index"] = number
                told = self._told(index, one.logprobs) if self._logprobs else None
                yield self._chunk(index, {"delta": said}, None, told)
            elif place:
                yield self.piece(Piece(completion.index, one.text), place)
            yield self._chunk(index, body, reason)

    def totals(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The last chunk where the client asked for usage: no choice, only counts."""
        return {**self._streamed(), "choices": [], "usage": usage(completions, self._drawn)}

    def _choice(self, completion: Completion) -> dict[str, Any]:
        text = self._echo(completion.index) + completion.text
        said, reason = self._said(text, completion)
        message = {"role": "assistant", "refusal": None, **said}
        both = (*completion.prompt_logprobs, *completion.logprobs)
        told = self._told(completion.index, both) if self._logprobs else None
        return {
            "index": completion.index,
            **({"message": message} if self._chat else {"text": text}),
            "logprobs": told,
            "finish_reason": reason,
        }

    @property
    def held(self) -> bool:
        """Whether text is kept back until the answer is whole: it may become a call."""
        return self._calls is not None

    def _said(self, text: str, completion: Completion) -> tuple[dict[str, Any], str]:
        """A message's content and calls, and why it ends."""
        if self._calls is None:
            return {"content": text}, completion.finish_reason
        content, calls = self._calls(text)
        if not calls:
            return {"content": text}, completion.finish_reason
        return {"content": content, "tool_calls": calls}, "tool_calls"

    def _echo(self, index: int) -> str:
        """The prompt of a choice, where it is given back."""
        shown = self._echoed
        return shown[index * len(shown) // self._choices] if shown and self._choices else ""

    def _told(self, index: int, found: Sequence[TokenLogprob]) -> dict[str, Any]:
        """Log-probabilities in the form of the route."""
        if self._chat:
            return {"content": [_chat_logprob(one) for one in found], "refusal": None}
        spoken, offsets = self._spoken.setdefault(index, bytearray()), []
        for one in found:
            offsets.append(len(spoken.decode(errors="ignore")))
            spoken.extend(one.bytes)
        return {
            "tokens": [one.text for one in found],
            "token_logprobs": [one.log_probability for one in found],
            "top_logprobs": [_alternatives(one) for one in found],
            "text_offset": offsets,
        }

    def _chunk(
        self, index: int, body: dict[str, Any], finish: str | None, told: Any = None
    ) -> dict[str, Any]:
        choice = {"index": index, **body, "logprobs": told, "finish_reason": finish}
        return {**self._streamed(), "choices": [choice]}

    def _streamed(self) -> dict[str, Any]:
        return {
            **self._head,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
        }


def _chat_logprob(one: TokenLogprob) -> dict[str, Any]:
    return {**_named(one), "top_logprobs": [_named(other) for other in one.top]}


def _named(one: TokenLogprob) -> dict[str, Any]:
    return {"token": one.text, "logprob": one.log_probability, "bytes": list(one.bytes)}


def _alternatives(one: TokenLogprob) -> dict[str, float] | None:
    """The likeliest tokens and the chosen one, by their texts; of equal texts the likelier."""
    if one.log_probability is None:
        return None
    found = {one.text: one.log_probability}
    for other in one.top:
        found[other.text] = max(other.log_probability or 0.0, found.get(other.text, -1e9))
    return found


def usage(completions: Sequence[Completion], each: int = 1) -> dict[str, int]:
    """Tokens read, once for the `each` answers drawn to one prompt, and all tokens that were made,
    those of answers not shown too."""
    ordered = sorted(completions, key=lambda completion: completion.index)
    prompt = sum(completion.prompt_tokens for completion in ordered[::each])
    new = sum(one.completion_tokens for first in ordered for one in (first, *first.others))
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def embeddings(
    model: str, vectors: Sequence[Sequence[float]], tokens: int, as_bytes: bool
) -> dict[str, Any]:
    """OpenAI's list of embeddings; `as_bytes` as base64 of little-endian float32."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(vector) if as_bytes else list(vector),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def sent(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
