"""A server in a thread over models the test controls."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import httpx2

from tutelage.errors import RequestError
from tutelage.lm import Capabilities, Completion, Event, FinishReason, Message, Piece, Prompt, Score
from tutelage.lm import Request as LmRequest
from tutelage.serve.run import HttpServer, bind, url

KEY = "sk-right"
SECONDS = 120
"""After which a server, a model or a client hangs: no busy machine takes as long."""

get = functools.partial(httpx2.get, timeout=SECONDS)
post = functools.partial(httpx2.post, timeout=SECONDS)
request = functools.partial(httpx2.request, timeout=SECONDS)


class SteppedLM:
    """Says `word` once a step, and takes a step only when the test allows it.

    A token is a character of the prompt; the context is 100 tokens.
    """

    def __init__(
        self,
        chat: bool = True,
        error: Exception | None = None,
        error_after: Exception | None = None,
    ) -> None:
        self.allowed = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.seen: list[LmRequest] = []
        self.reasons: list[FinishReason] = []
        self.said = 0
        self._chat = chat
        self._error = error
        self._error_after = error_after

    def capabilities(self) -> Capabilities:
        return Capabilities("stepped", chat=self._chat, context=100)

    def generate(
        self, requests: Sequence[LmRequest], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        self.seen.extend(requests)
        self.began.release()
        try:
            for index, request in enumerate(requests):
                if self._error is not None:
                    raise self._error
                yield from self._one(index, request, cancelled or (lambda _: False))
                if self._error_after is not None:
                    raise self._error_after
        finally:
            self.ended.release()

    def _one(
        self, index: int, request: LmRequest, cancelled: Callable[[int], bool]
    ) -> Iterator[Event]:
        reason: FinishReason = "length"
        said = 0
        while said < request.max_new_tokens:
            while not (allowed := self.allowed.acquire(timeout=0.01)) and not cancelled(index):
                pass
            if not allowed:
                reason = "cancelled"
                break
            said += 1
            self.said += 1
            yield Piece(index, "word ")
        self.reasons.append(reason)
        yield Completion(index, "word " * said, reason, self.count_tokens(request.prompt), said)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        raise RequestError("no")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise RequestError("no")

    def count_tokens(self, prompt: Prompt) -> int:
        if isinstance(prompt, str):
            return len(prompt)
        return sum(len(message.content) for message in prompt if isinstance(message, Message))


@contextlib.contextmanager
def serving(
    models: dict[str, object], send_buffer: int | None = None, **options: object
) -> Iterator[str]:
    """The address of a server that lives as long as the block. The system takes `send_buffer`
    bytes of what it sends a client who does not read, or as many as it sees fit."""
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        if send_buffer is not None:  # those who are connected inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        address = url(listener)
        server = HttpServer(models, listener, **options)  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        try:
            assert ready.wait(SECONDS)
            yield address
        finally:
            server.stop()
            server.stop()
            thread.join(SECONDS)
            assert not thread.is_alive()


def eventually(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something of another thread has come about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@contextlib.contextmanager
def asking(address: str, **body: object) -> Iterator[None]:
    """One who asks for a completion, and hangs up at the end of the block without having read."""
    url = httpx2.URL(address)
    with httpx2.Client() as client:
        asked = client.build_request("POST", f"{address}/v1/completions", json=body)
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    with socket.create_connection((url.host, url.port or 80), SECONDS) as link:
        link.sendall(f"POST {asked.url.path} HTTP/1.1\r\n{head}\r\n".encode() + asked.content)
        yield
