"""A balancer of connections over several servers, as plain as one can be: each in turn."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit


class Balancer:
    """Gives every connection to the next server that takes it; `served` counts them by address."""

    def __init__(self, addresses: list[str]) -> None:
        self.served: Counter[str] = Counter()
        self._turns = itertools.cycle(addresses)
        self._count = len(addresses)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self._count):
            address = next(self._turns)
            parts = urlsplit(address)
            with contextlib.suppress(OSError):
                behind = await asyncio.open_connection(parts.hostname, parts.port)
                self.served[address] += 1
                await asyncio.gather(_carry(reader, behind[1]), _carry(behind[0], writer))
                return
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def balancing(addresses: list[str]) -> Iterator[tuple[str, Balancer]]:
    """The balancer and its address, as long as the block."""
    balancer, ready, loop = Balancer(addresses), threading.Event(), asyncio.new_event_loop()
    port: list[int] = []

    async def run() -> None:
        server = await asyncio.start_server(balancer.take, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await server.serve_forever()

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    task = loop.create_task(run())
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield f"http://127.0.0.1:{port[0]}", balancer
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(120)
        loop.close()
