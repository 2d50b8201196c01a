"""Who may ask: the key, the Host header, and the last net under every route. Pure ASGI.

With a key, every path but exactly `/health` needs it, also paths that do not exist. Without one the
server listens on loopback only, and answers only to loopback names, so that a web page whose name
was rebound to this machine reads nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import time
from collections import Counter
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.serve.faults import Fault, from_exception, too_many
from tutelage.serve.metrics import Metrics

OPEN_PATH = "/health"
SECONDS_TO_READ = 60.0
"""Without taking anything of what it is sent."""
PAGE = "/"


class Guard:
    """Middleware around the whole application.

    `key` may hold several keys, one a line. Each may have `per_key` requests under way or waiting;
    without a key all clients are one.
    """

    def __init__(
        self, app: ASGIApp, key: str | None, per_key: int = 64, metrics: Metrics | None = None
    ) -> None:
        self._app = app
        self._keys = None if key is None else [one.encode() for one in key.split("\n")]
        self._per_key = per_key
        self._metrics = metrics or Metrics()
        self._under_way: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.count("tutelage_responses_total", status=str(message["status"]))
            # A client that does not read for so long holds its place no longer.
            async with asyncio.timeout(SECONDS_TO_READ):
                await send(message)

        try:
            client = self._admit(scope)
            with self._counted(client, scope):
                await self._app(scope, receive, watched)
        except Exception as error:
            if not begun:
                await from_exception(error).response()(scope, receive, watched)

    @contextlib.contextmanager
    def _counted(self, client: int, scope: Scope) -> Iterator[None]:
        """Count a request that asks for work. Raises Fault 429 where its key has too many."""
        if scope["method"] != "POST":
            yield
            return
        if self._under_way[client] >= self._per_key:
            raise too_many(self._per_key)
        self._under_way[client] += 1
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._under_way[client] -= 1
            self._metrics.observe("tutelage_request_seconds", time.perf_counter() - begun)

    def _admit(self, scope: Scope) -> int:
        """Number of the key that asks. Raises Fault 401 or 403."""
        headers = Headers(scope=scope)
        if self._keys is None:
            if not is_loopback(_name(headers.get("host", ""))):
                raise Fault(403, "this server answers to loopback names only", param="Host")
            return 0
        if scope["path"] == OPEN_PATH:
            return 0
        scheme, given = _credentials(headers.get("authorization", ""))
        sent = given.encode("latin-1")
        # All keys are compared, each in constant time: how long it takes tells nothing.
        right = [hmac.compare_digest(sent, key) for key in self._keys]
        if not (any(right) and scheme in ("bearer", "basic")):
            message = "a key is required: Authorization: Bearer KEY" if not given else "wrong key"
            asks = 'Basic realm="key as password"' if scope["path"] == PAGE else "Bearer"
            raise Fault(401, message, code="invalid_api_key", authenticate=asks)
        return right.index(True)


def _credentials(header: str) -> tuple[str, str]:
    """Scheme and key of an Authorization header. Of the scheme that browsers know by themselves the
    key is the password; a page of another origin cannot use it, as bodies must be sent as JSON."""
    scheme, _, given = header.partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(given.encode("latin-1"), validate=True).decode("latin-1")
        except ValueError:
            return "", given
        given = decoded.partition(":")[2]
    return scheme.lower(), given


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name of a Host header, without its port."""
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return host if end <= 0 else host[:end]
