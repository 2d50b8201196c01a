"""Many users at once: every answer is its own, who leaves or gets stuck costs the others nothing.

Short forms run with every change; `-m long` runs them as large as docs/campaigns.md tells.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
from typing import Any

import openai
import pytest

from tests.load.clients import all_of, ask, beside_a_stream, connected, events, opened
from tests.unit.generate.forms import hostile
from tests.unit.serve.serving import eventually, get, serving
from tutelage.backends.local import LocalLM
from tutelage.decoding import Guided
from tutelage.lm import Request, Sampling, complete
from tutelage.serve import guard
from tutelage.serve.run import HttpServer, bind, url
from tutelage.serve.service import Limits

SIZES = [pytest.param(False, id="short"), pytest.param(True, id="long", marks=pytest.mark.long)]
sizes = pytest.mark.parametrize("long", SIZES)


def prompt(number: int) -> str:
    """Some begin alike, some are long, none is another's."""
    drawn = random.Random(number)
    begun = "It is a truth universally acknowledged, " * (4 if number % 3 else 0)
    return f"{begun}{number}: " + "".join(drawn.choices("abcdefgh ", k=drawn.randrange(1, 90)))


def body(number: int, tokens: int = 12) -> dict[str, Any]:
    drawn = {"temperature": 0.9, "top_p": 0.9, "seed": number} if number % 2 else {}
    return {"prompt": prompt(number), "max_tokens": tokens, "logprobs": 1, **drawn}


def solo(lm: LocalLM, number: int) -> tuple[str, list[float]]:
    """The same request with nobody beside it."""
    sampling = Sampling(0.9, top_p=0.9, seed=number) if number % 2 else Sampling()
    (one,) = complete(lm, [Request(prompt(number), 12, sampling, logprobs=1)])
    return one.text, [float(told.log_probability or 0.0) for told in one.logprobs]


def counts(address: str) -> dict[str, float]:
    lines = get(f"{address}/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}


def idle(address: str) -> None:
    """Every row is gone and holds no block."""
    eventually(lambda: counts(address)["tutelage_rows_running"] == 0, 60)
    found = counts(address)
    assert found["tutelage_rows_waiting"] == found["tutelage_blocks_held"] == 0


@sizes
def test_every_answer_is_its_own(lm: LocalLM, address: str, long: bool) -> None:
    """All are accounted for, none is crossed, each is to the bit that of the request alone."""
    numbers = range(1000 if long else 60)
    expected = [solo(lm, number) for number in numbers]
    begun = time.monotonic()
    found = asyncio.run(all_of(address, [body(number) for number in numbers]))
    print(f"{len(found)} answers in {time.monotonic() - begun:.1f} s, {counts(address)}")
    assert [answer.status for answer in found] == [200] * len(numbers)
    assert [(answer.text, answer.logprobs) for answer in found] == expected
    idle(address)


@sizes
def test_abandoned_requests_leave_nothing(address: str, long: bool) -> None:
    """Of 10,000 tokens each; then an answer within 5 s."""
    count = 200 if long else 20

    async def abandon() -> None:
        asked = {"max_tokens": 10_000, "min_tokens": 10_000, "stream": True}
        open_ones = await asyncio.gather(
            *(connected(address, {"prompt": prompt(n), **asked}) for n in range(count))
        )
        first = asyncio.as_completed([opened(reader) for reader, _ in open_ones])
        assert await next(iter(first)) == 200
        for _, writer in open_ones:
            writer.close()

    asyncio.run(abandon())
    begun = time.monotonic()
    answer = asyncio.run(ask(address, body(1, 3)))
    seconds = time.monotonic() - begun
    print(f"after {count} abandoned requests an answer in {seconds:.2f} s")
    assert answer.status == 200 and seconds < 5
    idle(address)


@sizes
def test_stuck_readers_hold_up_nobody(
    lm: LocalLM, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stop reading in the middle of streams that do not fit the buffers between: those are
    made small, so that each needs only some hundred tokens to get stuck. None is given up while
    this looks, however slow the machine is."""
    monkeypatch.setattr(guard, "SECONDS_TO_READ", 3600.0)
    stuck, others = (50, 24) if long else (8, 6)
    limits = Limits(per_key=4096, new_tokens=1024)
    small = {"waiting": 4096, "limits": limits, "drain_seconds": 1.0, "send_buffer": 4096}
    with serving({"model": lm}, **small) as address:
        before, during = asyncio.run(_rates_beside_stuck(address, stuck, others))
        idle(address)
    share = max(during) / max(before)
    print(f"{stuck} stuck: {max(before):.0f} tokens/s before, {max(during):.0f} after: {share:.0%}")
    assert share > (0.9 if long else 0.5)


def at_work(address: str) -> float:
    return counts(address)["tutelage_requests_running"]


async def _rates_beside_stuck(
    address: str, stuck: int, others: int
) -> tuple[list[float], list[float]]:
    """Tokens a second that `others` get, some times, before and while `stuck` do not read."""

    async def rate() -> float:
        begun = time.monotonic()
        found = await all_of(address, [body(number, 64) for number in range(others)])
        assert [answer.status for answer in found] == [200] * others
        return others * 64 / (time.monotonic() - begun)

    before = [await rate() for _ in range(3)]
    ended = "tutelage_request_seconds_count"
    first = "tutelage_time_to_first_token_seconds_count"
    done, begun = counts(address)[ended], counts(address)[first]
    asked = {"prompt": "x", "max_tokens": 300, "min_tokens": 300, "logprobs": 5, "stream": True}
    held = [await connected(address, asked, buffer=512) for _ in range(stuck)]
    for _, writer in held:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.to_thread(eventually, lambda: counts(address)[first] == begun + stuck, 120)
    await asyncio.to_thread(eventually, lambda: not at_work(address), 120)
    assert counts(address)["tutelage_requests_waiting"] == 0
    assert counts(address)[ended] == done, "their answers are made, and not one is taken"
    during = [await rate() for _ in range(3)]
    while max(during) <= 0.9 * max(before) and len(during) < 9:
        during.append(await rate())  # whoever else uses the machine slows some of them
    assert counts(address)[ended] == done + len(during) * others, "they are stuck still"
    for _, writer in held:
        writer.transport.abort()  # type: ignore[attr-defined]
    return before, during


@sizes
def test_a_server_that_ends_tells_every_stream(lm: LocalLM, long: bool) -> None:
    """As on SIGTERM, which asks the server to stop in the same way."""
    count = 50 if long else 12

    async def read(address: str) -> str:
        asked = {"prompt": "x", "max_tokens": 2000, "min_tokens": 2000, "stream": True}
        reader, writer = await connected(address, asked)
        assert await opened(reader) == 200
        told = [event async for _, event in events(reader)]
        writer.close()
        return told[-1]

    async def streams(address: str, server: HttpServer) -> list[str]:
        open_ones = [asyncio.create_task(read(address)) for _ in range(count)]
        running = "tutelage_requests_running"
        await asyncio.to_thread(eventually, lambda: counts(address)[running] == count, 60)
        server.stop()
        return list(await asyncio.gather(*open_ones))

    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = HttpServer({"model": lm}, listener, waiting=100, drain_seconds=0.5)
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        assert ready.wait(120)
        last = asyncio.run(streams(url(listener), server))
        thread.join(120)
    assert not thread.is_alive()
    told = {end: sum(end in one for one in last) for end in ("[DONE]", "server_shutdown")}
    print(f"{count} streams ended: {told}")
    assert sum(told.values()) == count


@sizes
def test_hostile_forms_do_not_hold_up_the_others(address: str, long: bool) -> None:
    """A stream goes on while grammars and schemas made to be costly are answered or refused."""
    forms = hostile(200 if long else 12)

    async def refused_or_answered(form: Guided) -> int:
        kind = "json" if form.kind == "json_schema" else form.kind
        value: Any = list(form.choices) if form.kind == "choice" else form.text
        given = {"prompt": "x", "max_tokens": 8, "structured_outputs": {kind: value}}
        return (await ask(address, given)).status

    asked = [functools.partial(refused_or_answered, form) for form in forms]
    assert asyncio.run(beside_a_stream(address, asked)).held_up_nobody()
    idle(address)


def test_the_official_client_streams_many_chats(lm: LocalLM, address: str) -> None:
    async def chat(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model="model", messages=[{"role": "user", "content": prompt(number)}], stream=True,
            max_tokens=9, temperature=0.7, seed=number, stream_options={"include_usage": True},
        )  # fmt: skip
        said, usage = "", None
        async for chunk in stream:
            usage = chunk.usage or usage
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert usage is not None and usage.completion_tokens <= 9
        return said

    async def chats(numbers: list[int]) -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            return list(await asyncio.gather(*(chat(client, number) for number in numbers)))

    together = asyncio.run(chats(list(range(12))))
    assert together == [asyncio.run(chats([number]))[0] for number in range(12)]
    assert len(set(together)) > 6
