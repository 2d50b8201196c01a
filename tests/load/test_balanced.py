"""Two processes of ours behind one balancer: one model to its clients, also while one of them ends.

Their answers are the same, as both hold the same weights; nothing else is shared.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest

from tests.load.balancer import balancing
from tests.load.clients import all_of, ask, connected, events, opened
from tests.load.test_load import body

COMMAND = (sys.executable, "-m", "tutelage", "serve", "preset:llama-tiny", "--port", "0",
           "--exact", "--threads", "1", "--cache-gb", "0.05", "--quiet")  # fmt: skip


@pytest.fixture
def servers() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Both by their addresses."""
    both = [subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {}
    for one in both:
        assert one.stdout is not None
        found[json.loads(one.stdout.readline())["url"]] = one
    yield found
    for one in both:
        one.kill()
        one.communicate()


def test_two_behind_one_address(servers: dict[str, subprocess.Popen[str]]) -> None:
    with balancing(list(servers)) as (address, balancer):
        numbers = list(range(24))
        found = asyncio.run(all_of(address, [body(number) for number in numbers]))
        assert [answer.status for answer in found] == [200] * len(numbers)
        assert set(balancer.served.values()) == {len(numbers) // 2}
        for one in servers:
            alone = asyncio.run(all_of(one, [body(number) for number in numbers[:6]]))
            assert [answer.text for answer in alone] == [answer.text for answer in found[:6]]
        asyncio.run(_one_ends(address, servers))


async def _one_ends(address: str, servers: dict[str, subprocess.Popen[str]]) -> None:
    """SIGTERM to one while streams run on both: each stream is answered to its end, and whoever
    asks meanwhile is answered by the other."""
    asked = {"prompt": "x", "max_tokens": 200, "min_tokens": 200, "stream": True}
    streams = [await connected(address, asked) for _ in range(4)]
    assert [await opened(reader) for reader, _ in streams] == [200] * 4
    gone = next(iter(servers))
    servers[gone].send_signal(signal.SIGTERM)
    reading = [asyncio.create_task(_last(reader)) for reader, _ in streams]
    await asyncio.to_thread(_refuses, gone)
    late = [await ask(address, body(number)) for number in range(6)]
    assert [answer.status for answer in late] == [200] * 6
    assert await asyncio.gather(*reading) == ["[DONE]"] * 4
    for _, writer in streams:
        writer.close()
    assert await asyncio.to_thread(servers[gone].wait, 60) == 0


async def _last(reader: asyncio.StreamReader) -> str:
    return [event async for _, event in events(reader)][-1]


def _refuses(address: str) -> None:
    """Until the server takes no new connections."""
    while True:
        try:
            httpx2.get(f"{address}/health")
        except httpx2.TransportError:
            return
