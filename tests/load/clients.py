"""Clients for load, so plain that a thousand of them are one thread with little work."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What came back: the body, or a stream's events each with the time it came."""

    status: int
    body: dict[str, Any] | None = None
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        assert self.body is not None
        return str(self.body["choices"][0]["text"])

    @property
    def logprobs(self) -> list[float]:
        assert self.body is not None
        return list(self.body["choices"][0]["logprobs"]["token_logprobs"])


async def connected(
    address: str, body: dict[str, Any], path: str = "/v1/completions", buffer: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request that was sent; of its answer not much more than `buffer` bytes are taken before it
    is read. The system must know before it connects: what it once offered to take it does take."""
    parts = urlsplit(address)
    limit = 2**16 if buffer is None else buffer
    link = socket.socket()
    link.setblocking(False)
    if buffer is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(link, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=link, limit=limit)
    data = json.dumps({"model": "model", **body}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    return reader, writer


async def ask(address: str, body: dict[str, Any], path: str = "/v1/completions") -> Answer:
    """The whole answer."""
    reader, writer = await connected(address, body, path)
    try:
        status = await opened(reader)
        if body.get("stream"):
            return Answer(status, events=[event async for event in events(reader)])
        return Answer(status, json.loads(await reader.read()))
    finally:
        writer.close()


async def opened(reader: asyncio.StreamReader) -> int:
    """The status, once the headers are read."""
    status = int((await reader.readline()).split()[1])
    while (await reader.readline()).strip():
        pass
    return status


async def events(reader: asyncio.StreamReader) -> Any:
    """Data of server-sent events as they come, with their times."""
    while line := await reader.readline():
        if line.startswith(b"data: "):
            yield time.monotonic(), line[6:].decode().strip()


async def all_of(address: str, bodies: list[dict[str, Any]]) -> list[Answer]:
    """Every answer, asked for at the same time."""
    return list(await asyncio.gather(*(ask(address, body) for body in bodies)))


@dataclass(frozen=True)
class Beside:
    """What hostile requests gave while a stream went on: statuses, the longest time to one, the
    longest gap of the stream."""

    statuses: list[int]
    slowest: float
    gap: float

    def held_up_nobody(self) -> bool:
        """Say what happened, and whether all were answered or refused in bounded time."""
        told = {status: self.statuses.count(status) for status in sorted(set(self.statuses))}
        print(f"{told}, slowest {self.slowest:.2f} s, longest gap in the stream {self.gap:.2f} s")
        return set(self.statuses) <= {200, 400} and self.slowest < 30 and self.gap < 5


async def beside_a_stream(address: str, asked: Iterable[Callable[[], Awaitable[int]]]) -> Beside:
    """Ask one after the other while somebody else reads a long stream."""
    long = {"prompt": "x", "max_tokens": 10_000, "min_tokens": 10_000, "stream": True}
    reader, writer = await connected(address, long)
    assert await opened(reader) == 200
    times: list[float] = []

    async def watch() -> None:
        async for at, _ in events(reader):
            times.append(at)

    watching = asyncio.create_task(watch())
    statuses, slowest = [], 0.0
    for one in asked:
        begun = time.monotonic()
        statuses.append(await one())
        slowest = max(slowest, time.monotonic() - begun)
    watching.cancel()
    writer.close()
    gap = max(after - before for before, after in itertools.pairwise(times))
    return Beside(statuses, slowest, gap)
