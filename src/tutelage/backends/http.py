"""A model behind an OpenAI-compatible server, seen as an LM.

One request is streamed; of many, a few at a time are asked whole. Raw text goes to /completions,
messages to /chat/completions. Probabilities come from /completions with `echo` where the server
offers that, embeddings from /embeddings; what it offers is found out by asking, once. Token counts
are the server's, 0 where it tells none. The prompt's length before asking is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

from tutelage.backends.asked import settings
from tutelage.backends.echo import add_up, echo_request, first_choice, log_probabilities
from tutelage.backends.parallel import each
from tutelage.backends.wire import Refused, Wire
from tutelage.errors import RequestError, SourceError, TutelageError, WorkError, did_you_mean
from tutelage.lm import (
    Capabilities,
    Completion,
    Event,
    FinishReason,
    Piece,
    Prompt,
    Request,
    Score,
)

AT_ONCE = 4
TEXTS_AT_ONCE = 64


class HttpLM:
    """The LM that asks a server. `model` is the model's name there."""

    def __init__(
        self, url: str, model: str, *, key: str | None = None, wire: Wire | None = None
    ) -> None:
        self._wire = wire or Wire(url, key=key)
        self._model = model

    def capabilities(self) -> Capabilities:
        """What the server offers. Asks it on first use."""
        return self._capabilities

    @cached_property
    def _capabilities(self) -> Capabilities:
        listed = self._listed()
        entry = listed.get(self._model, {})
        context = entry.get("max_model_len")
        return Capabilities(
            name=f"{self._wire.url}#{self._model}",
            chat=True,
            score=self._offers("/completions", echo_request(self._model, "a b")),
            embed=self._offers("/embeddings", {"model": self._model, "input": ["a"]}),
            context=context if isinstance(context, int) and context > 0 else None,
            together=AT_ONCE,
        )

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """Answer all. Raises RequestError with what the server refused, WorkError where it failed,
        SourceError where nothing answers or the model is unknown there."""
        stopped = cancelled or (lambda _: False)
        if len(requests) == 1:
            yield from self._streamed(requests[0], stopped)
        else:
            yield from self._at_once(requests, stopped)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """Log-probabilities of raw texts; the server tokenizes context and continuation as one.

        Raises RequestError for messages, where the server echoes no probabilities, and where the
        border between context and continuation lies inside a token.
        """
        if not self.capabilities().score:
            raise RequestError(
                f"{self._wire.url} reveals no probabilities",
                got="score",
                expected="a server whose /completions takes echo and logprobs",
            )
        scored = dict(each(self._score, pairs, AT_ONCE))
        return [scored[number] for number in range(len(pairs))]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, from /embeddings."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            batch = list(texts[start : start + TEXTS_AT_ONCE])
            answer = self._post("/embeddings", {"model": self._model, "input": batch})
            vectors += _vectors(answer, len(batch), self._wire.url)
        return vectors

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def _streamed(self, request: Request, cancelled: Callable[[int], bool]) -> Iterator[Event]:
        path, body = self._asked(request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        text, finish = "", None
        usage: dict[str, Any] = {}
        with closing(self._stream(path, body)) as chunks:
            for chunk in chunks:
                if cancelled(0):
                    finish = "cancelled"
                    break
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices") or []:
                    new = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
                    finish = choice.get("finish_reason") or finish
                    text += new
                    if new:
                        yield Piece(0, new)
        yield self._completion(0, text, finish, usage)

    def _at_once(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool]
    ) -> Iterator[Event]:
        def ask(numbered: tuple[int, Request]) -> Completion:
            return self._whole(*numbered, cancelled)

        for _, completion in each(ask, enumerate(requests), AT_ONCE):
            if completion.text:
                yield Piece(completion.index, completion.text)
            yield completion

    def _whole(self, index: int, request: Request, cancelled: Callable[[int], bool]) -> Completion:
        if cancelled(index):
            return Completion(index, "", "cancelled", 0, 0)
        path, body = self._asked(request)
        answer = self._post(path, body)
        choice = first_choice(answer.get("choices"), self._wire.url)
        text = (choice.get("message") or {}).get("content") or choice.get("text") or ""
        return self._completion(index, text, choice.get("finish_reason"), answer.get("usage") or {})

    def _completion(
        self, index: int, text: str, finish: str | None, usage: dict[str, Any]
    ) -> Completion:
        reasons: dict[str | None, FinishReason] = {
            "stop": "stop",
            "length": "length",
            "cancelled": "cancelled",
        }
        if finish not in reasons:
            said = "broke off without a finish reason" if finish is None else f"ended by {finish!r}"
            raise WorkError(
                f"the answer of {self._wire.url} {said}",
                field=self._wire.url,
                got=finish,
                expected="stop or length",
            )
        prompt, new = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        return Completion(index, text, reasons[finish], int(prompt), int(new))

    def _asked(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Route and body of one request."""
        body = {"model": self._model, **settings(request)}
        if isinstance(request.prompt, str):
            return "/completions", body | {"prompt": request.prompt}
        turns = [{"role": turn.role, "content": turn.content} for turn in request.prompt]
        return "/chat/completions", body | {"messages": turns}

    def _stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        try:
            yield from self._wire.events(path, body)
        except Refused as refused:
            raise self._explained(refused) from None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._wire.post(path, body)
        except Refused as refused:
            raise self._explained(refused) from None

    def _explained(self, refused: Refused) -> TutelageError:
        """A 404 for a model that the server does not list names those it does."""
        if refused.status != 404:
            return refused
        listed = self._listed()
        if not listed or self._model in listed:
            return refused
        return SourceError(
            f"{self._wire.url} has no model {self._model!r}",
            field="model",
            got=self._model,
            expected="one of " + ", ".join(sorted(listed)[:20]),
            hint=did_you_mean(self._model, listed),
        )

    def _listed(self) -> dict[str, dict[str, Any]]:
        """The models the server lists; none where it has no list."""
        try:
            data = self._wire.get("/models").get("data")
        except (Refused, WorkError):
            return {}
        entries = data if isinstance(data, list) else []
        return {str(entry.get("id")): entry for entry in entries if isinstance(entry, dict)}

    def _offers(self, path: str, body: dict[str, Any]) -> bool:
        try:
            answer = self._wire.post(path, body)
            if path == "/embeddings":
                return bool(_vectors(answer, 1, self._wire.url))
            return bool(log_probabilities(answer, self._wire.url))
        except TutelageError:
            return False  # also a key that is good for the model and not for this route

    def _score(self, pair: tuple[Prompt, str]) -> Score:
        context, continuation = pair
        if not isinstance(context, str):
            raise RequestError(
                "a server scores raw text only: it does not reveal its chat template",
                got="messages",
                expected="a context that is a text",
            )
        answer = self._post("/completions", echo_request(self._model, context + continuation))
        found = log_probabilities(answer, self._wire.url)
        return add_up(found, len(context), len(context + continuation), self._wire.url)


def _vectors(answer: dict[str, Any], expected: int, where: str) -> list[list[float]]:
    try:
        ordered = sorted(answer["data"], key=lambda entry: entry["index"])
        vectors = [[float(value) for value in entry["embedding"]] for entry in ordered]
    except (KeyError, TypeError, ValueError):
        vectors = []
    if len(vectors) != expected:
        raise WorkError(
            f"{where} answered {expected} texts with {len(vectors)} vectors", field=where
        )
    return vectors
