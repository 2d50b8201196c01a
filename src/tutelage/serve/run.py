"""Binding a port, and running the application until a signal says stop.

    with bind("127.0.0.1", 0) as listener:
        HttpServer({"model": lm}, listener).run(ready=lambda: print(url(listener)))

The port is taken before any model is opened, so that a taken one is known at once. SIGTERM and
SIGINT drain: no new connections, answers under way finish, up to `drain_seconds`; a second signal
does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import uvicorn

from tutelage.errors import ConfigError
from tutelage.lm import LM
from tutelage.serve.app import build_app
from tutelage.serve.guard import is_loopback
from tutelage.serve.service import Limits
from tutelage.serve.worker import Worker

WAITING = 32
DRAIN_SECONDS = 30.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def bind(host: str, port: int, *, key: bool = False) -> socket.socket:
    """A socket bound to the address, not yet listening; port 0 picks a free one.

    Raises ConfigError: no such address, port taken, or beyond loopback without a key.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(
            f"no such port: {port}", field="--port", got=port, expected="0 .. 65535 (0 picks one)"
        )
    family, address = _resolve(host, port)
    if not key and not is_loopback(address[0]):
        raise ConfigError(
            f"{host} can be reached from other machines, and no key is set",
            field="--host",
            got=host,
            expected="127.0.0.1, or a key",
            hint="give the key in a file with --api-key-file",
        )
    # Without the protocol's number asyncio leaves Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_bind(error, host, port) from None
    return listener


def url(listener: socket.socket) -> str:
    """`http://HOST:PORT` of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpServer:
    """The models behind one listening socket."""

    def __init__(
        self,
        models: Mapping[str, LM],
        listener: socket.socket,
        *,
        key: str | None = None,
        waiting: int = WAITING,
        limits: Limits | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._listener = listener
        together = max((lm.capabilities().together for lm in models.values()), default=1)
        self._worker = Worker(waiting, together)
        config = uvicorn.Config(
            build_app(models, self._worker, key=key, limits=limits),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(drain_seconds) + 5,
        )
        self._server = _Server(config, self._worker, drain_seconds)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until a signal or `stop`; `ready` is called when connections are accepted."""
        self._server.ready = ready
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._worker.close()

    def stop(self) -> None:
        """Drain and end; callable from any thread. A second call does not wait."""
        self._server.stop()


class _Server(uvicorn.Server):
    """uvicorn's server that says when it is ready and ends well on a signal."""

    should_exit: bool
    force_exit: bool

    def __init__(self, config: uvicorn.Config, worker: Worker, drain_seconds: float) -> None:
        super().__init__(config)
        self.ready: Callable[[], None] = lambda: None
        self._worker = worker
        self._drain_seconds = drain_seconds

    def stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        # What is not finished by then is told so in its stream, before connections are cut.
        late = loop.call_later(self._drain_seconds, self._worker.close, 0.0)
        await super().shutdown(sockets=sockets)
        late.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, without raising the signal again: a drained server has done its work."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.stop()


Address = tuple[str, int] | tuple[str, int, int, int]


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot find the address of {host!r}: {error}", field="--host", got=host
        ) from None
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]


def _cannot_bind(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} of {host} is in use",
            field="--port",
            got=port,
            expected="a free port",
            hint="choose another, or --port 0 to have one picked",
        )
    return ConfigError(
        f"cannot listen on {host}:{port}: {error.strerror}",
        field="--port" if error.errno == errno.EACCES else "--host",
        got=f"{host}:{port}",
    )
