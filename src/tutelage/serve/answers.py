"""OpenAI's answer objects from the seam's events. Knows nothing of HTTP or of models.

Answer("chat", "model").whole(completions)      chat.completion or text_completion
Answer("chat", "model").piece(0, "Par")         one chunk of a stream
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal

from tutelage.lm import Completion

Kind = Literal["chat", "text"]


class Answer:
    """The objects of one answer: they share an id, a time and a model."""

    def __init__(self, kind: Kind, model: str) -> None:
        self._chat = kind == "chat"
        prefix = "chatcmpl-" if self._chat else "cmpl-"
        self._head = {
            "id": prefix + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        ordered = sorted(completions, key=lambda completion: completion.index)
        return {
            **self._head,
            "object": "chat.completion" if self._chat else "text_completion",
            "choices": [self._choice(completion) for completion in ordered],
            "usage": usage(ordered),
        }

    def first(self) -> dict[str, Any] | None:
        """The chunk that opens a chat stream: it names the role."""
        if not self._chat:
            return None
        return self._chunk(0, {"delta": {"role": "assistant", "content": ""}}, None)

    def piece(self, index: int, text: str) -> dict[str, Any]:
        body: dict[str, Any] = {"delta": {"content": text}} if self._chat else {"text": text}
        return self._chunk(index, body, None)

    def end(self, completion: Completion) -> dict[str, Any]:
        body: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._chunk(completion.index, body, completion.finish_reason)

    def totals(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The last chunk where the client asked for usage: no choice, only counts."""
        return {**self._streamed(), "choices": [], "usage": usage(completions)}

    def _choice(self, completion: Completion) -> dict[str, Any]:
        text = completion.text
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "index": completion.index,
            **({"message": message} if self._chat else {"text": text}),
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }

    def _chunk(self, index: int, body: dict[str, Any], finish: str | None) -> dict[str, Any]:
        choice = {"index": index, **body, "logprobs": None, "finish_reason": finish}
        return {**self._streamed(), "choices": [choice]}

    def _streamed(self) -> dict[str, Any]:
        return {
            **self._head,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
        }


def usage(completions: Sequence[Completion]) -> dict[str, int]:
    prompt = sum(completion.prompt_tokens for completion in completions)
    new = sum(completion.completion_tokens for completion in completions)
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def sent(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
