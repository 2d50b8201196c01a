"""Requests to an OpenAI-compatible server: JSON in, JSON or a stream of events out.

Busy servers (429, 502, 503, 504) and dropped connections are tried again, after the time the server
names or a growing one. Everything else becomes an error of `errors.py` that names the server and
never the key. Knows nothing of models or prompts.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from tutelage.errors import ConfigError, RequestError, SourceError, TutelageError, WorkError

TRIES = 5
LONGEST_WAIT = 60.0
LARGEST_ANSWER = 64_000_000
_BUSY = frozenset({429, 502, 503, 504})
_LOOPBACK = ("localhost", "127.", "[::1]", "::1")


class Refused(RequestError):
    """The server understood and said no; `status` is its HTTP status."""

    def __init__(self, status: int, message: str, where: str) -> None:
        super().__init__(f"{where} refused the request: {message}", field=where, got=status)
        self.status = status


class Wire:
    """One server, spoken to from any number of threads."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        seconds: float = 600.0,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`seconds` is the longest silence of the server that is borne."""
        self.url = base_url.rstrip("/")
        self._key = key
        self._tries = tries
        self._sleep = sleep
        host = httpx2.URL(self.url).host
        self._client = httpx2.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(seconds, connect=10.0),
            follow_redirects=False,  # the key must not travel elsewhere
            trust_env=not host.startswith(_LOOPBACK),
            transport=transport,
        )

        weakref.finalize(self, self._client.close)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`."""
        return self._whole("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that answers `body`."""
        return self._whole("POST", path, body)

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The objects of a stream of server-sent events, up to `[DONE]`.

        Tried again only until the first event. Closing the iterator hangs up.
        Raises WorkError where the stream ends early.
        """
        with self._response("POST", path, body) as response, self._network():
            for line in response.iter_lines():
                field, _, data = line.partition(":")
                if field != "data":
                    continue
                if data.strip() == "[DONE]":
                    return
                event = self._object(data.encode())
                if "error" in event:
                    raise WorkError(f"{self.url} failed: {self._message(event)}", field=self.url)
                yield event

    def _whole(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        with self._response(method, path, body) as response, self._network():
            return self._object(self._read(response))

    @contextmanager
    def _response(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Iterator[httpx2.Response]:
        """A response of status 200, its body not yet read."""
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = self._client.build_request(
            method, self.url + path, content=content, headers=headers
        )
        response = self._send(request)
        try:
            if response.status_code != 200:
                with self._network():
                    raise self._refusal(response)
            yield response
        finally:
            response.close()

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        for attempt in range(self._tries):
            last = attempt + 1 == self._tries
            try:
                response = self._client.send(request, stream=True)
            except (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError) as error:
                if last:
                    raise self._broken(error) from None
                self._sleep(_growing(attempt))
                continue
            except httpx2.HTTPError as error:
                raise self._broken(error) from None
            if response.status_code not in _BUSY or last:
                return response
            response.close()
            self._sleep(_named(response.headers.get("retry-after")) or _growing(attempt))
        raise AssertionError("unreachable: the last try returns or raises")

    def _read(self, response: httpx2.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > LARGEST_ANSWER:
                raise WorkError(f"{self.url} sent more than {LARGEST_ANSWER} bytes", field=self.url)
            parts.append(part)
        return b"".join(parts)

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise WorkError(
                f"{self.url} did not answer with a JSON object",
                field=self.url,
                hint="is this an OpenAI-compatible server, and does its address end with /v1?",
            )
        return value

    def _refusal(self, response: httpx2.Response) -> TutelageError:
        status = response.status_code
        if status in (401, 403):
            return ConfigError(
                f"{self.url} does not accept the key" if self._key else f"{self.url} wants a key",
                field="--api-key-file",
                got=status,
                hint="name the file that holds this server's key with --api-key-file",
            )
        try:
            message = self._message(json.loads(self._read(response)))
        except (ValueError, RecursionError):
            message = f"HTTP status {status}"
        if status in _BUSY:
            return WorkError(f"{self.url} is busy: {message}", field=self.url, got=status)
        if 400 <= status < 500:
            return Refused(status, message, self.url)
        return WorkError(f"{self.url} failed: {message}", field=self.url, got=status)

    def _message(self, value: Any) -> str:
        """What the server said, in one bounded line without the key."""
        error = value.get("error", value) if isinstance(value, dict) else value
        text = error.get("message") if isinstance(error, dict) else error
        line = " ".join(str(text).split())
        if self._key:
            line = line.replace(self._key, "(key)")
        return line if len(line) <= 300 else line[:300] + "..."

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Failures while a body is read, as our errors."""
        try:
            yield
        except httpx2.HTTPError as error:
            raise self._broken(error) from None

    def _broken(self, error: httpx2.HTTPError) -> TutelageError:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return SourceError(
                f"nothing answers at {self.url}",
                field="model",
                got=type(error).__name__,
                hint="is the server running?",
            )
        if isinstance(error, httpx2.TimeoutException):
            return WorkError(f"{self.url} fell silent", field=self.url, got=type(error).__name__)
        return WorkError(
            f"the connection to {self.url} broke", field=self.url, got=type(error).__name__
        )


def _growing(attempt: int) -> float:
    """0.5, 1, 2, 4 ... seconds, each up to half longer so that many clients spread out."""
    return min(0.5 * 2**attempt * random.uniform(1.0, 1.5), LONGEST_WAIT)


def _named(header: str | None) -> float | None:
    """Retry-After in seconds: a number or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdigit():
        return min(float(header), LONGEST_WAIT)
    try:
        then = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(then - time.time(), 0.0), LONGEST_WAIT)
