"""One answer at a time: the line and its limit, clients that hang up, a server that ends."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tutelage.backends.scripted import Rule, ScriptedLM
from tutelage.errors import MemoryLimitError, RequestError, SourceError
from tutelage.serve.run import HttpServer, bind, url

from .serving import SECONDS, SteppedLM, asking, eventually, get, post, serving

GONE = {"model": "model", "prompt": "gone"}


def ask(address: str, **options: Any) -> httpx2.Response:
    body = {"model": "model", "prompt": "hi", "max_tokens": 3} | options
    return post(f"{address}/v1/completions", json=body)


def test_the_line_is_bounded_and_the_answers_come_in_turn() -> None:
    lm = SteppedLM()
    with serving({"model": lm}, waiting=2) as address, ThreadPoolExecutor(3) as pool:
        running = pool.submit(ask, address, prompt="1")
        assert lm.began.acquire(timeout=SECONDS)
        line = [pool.submit(ask, address, prompt="2")]
        eventually(lambda: waiting(address) == 1)
        line.append(pool.submit(ask, address, prompt="3"))
        eventually(lambda: waiting(address) == 2)
        refused = ask(address, prompt="4")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "server_busy"
        assert get(f"{address}/health").status_code == 200
        for _ in range(9):
            lm.allowed.release()
        found = [future.result(SECONDS) for future in (running, *line)]
        assert [response.status_code for response in found] == [200] * 3
        assert [request.prompt for request in lm.seen] == ["1", "2", "3"]
        assert ask_after(lm, address).status_code == 200


def test_many_at_once_each_get_their_own_answer() -> None:
    rules = [Rule(re.compile(f"^{number}$"), f"this is {number}") for number in range(60)]

    def one(number: int) -> str:
        found = ask(address, prompt=str(number), stream=False).json()
        return str(found["choices"][0]["text"])

    with (
        serving({"model": ScriptedLM(rules)}, waiting=60) as address,
        ThreadPoolExecutor(60) as pool,
    ):
        assert list(pool.map(one, range(60))) == [f"this is {number}" for number in range(60)]


def test_a_client_that_hangs_up_ends_its_answer() -> None:
    lm = SteppedLM()
    with serving({"model": lm}) as address:
        for stream in (False, True):
            with asking(address, **GONE, stream=stream):
                assert lm.began.acquire(timeout=SECONDS)
            assert lm.ended.acquire(timeout=SECONDS)
        assert lm.reasons == ["cancelled", "cancelled"]
        assert ask_after(lm, address).json()["choices"][0]["text"] == "word " * 3


def test_a_client_that_hangs_up_in_mid_stream_ends_its_answer() -> None:
    lm = SteppedLM()
    with serving({"model": lm}) as address:
        body = {"model": "model", "prompt": "hi", "max_tokens": 50, "stream": True}
        lm.allowed.release()
        with httpx2.stream(
            "POST", f"{address}/v1/completions", json=body, timeout=SECONDS
        ) as response:
            assert "word" in next(response.iter_lines())
        assert lm.ended.acquire(timeout=SECONDS)
        assert lm.reasons == ["cancelled"] and lm.said == 1


def test_a_waiting_client_that_hangs_up_gives_its_place_away() -> None:
    lm = SteppedLM()
    with serving({"model": lm}, waiting=1) as address, ThreadPoolExecutor(2) as pool:
        running = pool.submit(ask, address, prompt="1")
        assert lm.began.acquire(timeout=SECONDS)
        with asking(address, **GONE, stream=True):
            eventually(lambda: waiting(address) == 1)
        eventually(lambda: waiting(address) == 0)
        third = pool.submit(ask, address, prompt="3")
        eventually(lambda: waiting(address) == 1)
        for _ in range(6):
            lm.allowed.release()
        assert running.result(SECONDS).status_code == third.result(SECONDS).status_code == 200
        assert [request.prompt for request in lm.seen] == ["1", "3"]


def test_what_a_model_raises_becomes_a_status_and_the_server_lives() -> None:
    expected = [
        (RequestError("too long for me"), 400, "too long for me"),
        (SourceError("/secret/path is gone"), 500, "could not answer"),
        (MemoryLimitError("needs 3 GB at /secret/path"), 503, "not enough memory"),
        (RuntimeError("/secret/path"), 500, "could not answer"),
    ]
    for error, status, words in expected:
        lm = SteppedLM(error=error)
        with serving({"model": lm}) as address:
            for stream in (False, True, False):
                response = ask(address, stream=stream)
                assert response.status_code == status
                assert words in response.json()["error"]["message"]
                assert "secret" not in response.text


def test_an_error_in_mid_stream_is_its_last_event() -> None:
    lm = SteppedLM(error_after=RuntimeError("/secret/path"))
    with serving({"model": lm}) as address:
        lm.allowed.release()
        lines = ask(address, stream=True, prompt=["a", "b"], max_tokens=1).text.split("\n\n")
        events = [line for line in lines if line]
        assert "word" in events[0]
        assert '"server_error"' in events[-1] and "secret" not in events[-1]


def test_a_draining_server_finishes_what_it_began() -> None:
    lm = SteppedLM()
    found = drained(lm, 30.0, lambda: [lm.allowed.release() for _ in range(3)])
    assert found.json()["choices"][0]["text"] == "word " * 3


def test_a_drain_that_takes_too_long_tells_the_client() -> None:
    lm = SteppedLM()
    found = drained(lm, 0.0, lambda: None)
    assert found.status_code == 503
    assert found.json()["error"]["code"] == "server_shutdown"
    assert lm.reasons == ["cancelled"]


def drained(lm: SteppedLM, seconds: float, after: Callable[[], object]) -> httpx2.Response:
    """The answer that was under way when the server was told to stop."""
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener, ThreadPoolExecutor(1) as pool:
        address = url(listener)
        server = HttpServer({"model": lm}, listener, drain_seconds=seconds)
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        assert ready.wait(SECONDS)
        asked = pool.submit(ask, address)
        assert lm.began.acquire(timeout=SECONDS)
        server.stop()
        eventually(lambda: not listens(address))
        after()
        found = asked.result(SECONDS)
        thread.join(SECONDS)
        assert not thread.is_alive()
        return found


def listens(address: str) -> bool:
    try:
        get(f"{address}/health")
    except httpx2.TransportError:
        return False
    return True


def waiting(address: str) -> int:
    return int(get(f"{address}/health").json()["waiting"])


def ask_after(lm: SteppedLM, address: str) -> httpx2.Response:
    """One more question, to see that nothing is stuck."""
    for _ in range(3):
        lm.allowed.release()
    return ask(address)
