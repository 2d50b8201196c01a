"""Who may ask: the key, the Host header, and the last net under every route. Pure ASGI.

With a key, every path but exactly `/health` needs it, also paths that do not exist. Without one the
server listens on loopback only, and answers only to loopback names, so that a web page whose name
was rebound to this machine reads nothing.
"""

from __future__ import annotations

import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.serve.faults import Fault, from_exception

OPEN_PATH = "/health"


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, receive, watched)
        except Exception as error:
            if not begun:
                await from_exception(error).response()(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        """Raises Fault 401 or 403."""
        headers = Headers(scope=scope)
        if self._key is None:
            if not is_loopback(_name(headers.get("host", ""))):
                raise Fault(403, "this server answers to loopback names only", param="Host")
            return
        if scope["path"] == OPEN_PATH:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._key.encode())
        if not (right and scheme.lower() == "bearer"):
            message = "a key is required: Authorization: Bearer KEY" if not given else "wrong key"
            raise Fault(401, message, code="invalid_api_key")


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
