"""Who may ask: every registered route, with every kind of key; and whom a key-less server knows."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from itertools import product

import httpx2
import pytest
from fastapi import FastAPI

from tutelage.backends.scripted import ScriptedLM
from tutelage.errors import ConfigError
from tutelage.serve.app import build_app
from tutelage.serve.guard import is_loopback
from tutelage.serve.run import bind, url
from tutelage.serve.worker import Worker

from .serving import KEY, get, request, serving

HEADERS = {
    "none": {},
    "wrong": {"Authorization": "Bearer sk-wrong"},
    "empty": {"Authorization": "Bearer"},
    "beginning": {"Authorization": f"Bearer {KEY[:-1]}"},
    "longer": {"Authorization": f"Bearer {KEY}x"},
    "other scheme": {"Authorization": f"Basic {KEY}"},
    "wrong password": {"Authorization": "Basic " + base64.b64encode(b"me:no").decode()},
    "key as name": {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()},
    "not ASCII": {"Authorization": "Bearer sk-\xe9".encode("latin-1")},
}
RIGHT = {"Authorization": f"Bearer {KEY}"}


def routes() -> list[tuple[str, str]]:
    """Method and path of every route of the application."""
    worker = Worker(1)
    try:
        app = build_app({}, worker)._app
    finally:
        worker.close()
    assert isinstance(app, FastAPI)
    found = []
    for route in app.routes:
        path = getattr(route, "path", None)
        for method in getattr(route, "methods", None) or ():
            found.append((method, str(path).replace("{name:path}", "model")))
    return found


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with serving({"model": ScriptedLM([])}, key=KEY) as address:
        yield address


def test_the_walk_sees_the_routes() -> None:
    found = routes()
    assert ("POST", "/v1/chat/completions") in found and ("GET", "/health") in found
    assert ("GET", "/") in found and ("GET", "/page/chat.js") in found
    assert ("GET", "/openapi.json") in found
    assert len(found) == 16


@pytest.mark.parametrize(("route", "kind"), list(product(routes(), HEADERS)))
def test_every_route_but_health_needs_the_key(
    guarded: str, route: tuple[str, str], kind: str
) -> None:
    method, path = route
    response = request(method, guarded + path, headers=HEADERS[kind])
    if path == "/health":
        assert response.status_code == 200
        return
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    asks = response.headers["www-authenticate"].split()[0]
    assert asks == ("Basic" if path == "/" else "Bearer")
    assert KEY not in response.text
    admitted = request(method, guarded + path, headers=RIGHT)
    assert admitted.status_code not in (401, 403)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "PUT"])
@pytest.mark.parametrize(
    "path", ["/", "//health", "/health/", "/HEALTH", "/health/../v1/models", "/v1/models/", "/docs"]
)
def test_no_spelling_of_a_path_gets_around_the_key(guarded: str, method: str, path: str) -> None:
    target = httpx2.URL(guarded).copy_with(raw_path=path.encode())
    assert request(method, target).status_code == 401


def test_unknown_routes_and_methods_answer_in_the_same_form(guarded: str) -> None:
    missing = get(f"{guarded}/v1/nothing", headers=RIGHT)
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    wrong = get(f"{guarded}/v1/completions", headers=RIGHT)
    assert wrong.status_code == 405 and wrong.json()["error"]["type"] == "invalid_request_error"


def test_without_a_key_only_loopback_names_are_answered() -> None:
    with serving({"model": ScriptedLM([])}) as address:
        port = address.rpartition(":")[2]
        for host in ("localhost", f"127.0.0.1:{port}", "[::1]:80", "LOCALHOST:1"):
            found = get(f"{address}/v1/models", headers={"Host": host})
            assert found.status_code == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "10.0.0.1"):
            found = get(f"{address}/v1/models", headers={"Host": host})
            assert found.status_code == 403, host


@pytest.mark.parametrize(
    ("name", "expected"),
    [("localhost", True), ("127.8.8.8", True), ("[::1]", True), ("0.0.0.0", False), ("", False)],
)
def test_loopback_names(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected


def test_beyond_loopback_a_key_is_required() -> None:
    with pytest.raises(ConfigError) as caught:
        bind("0.0.0.0", 0)
    assert caught.value.field == "--host" and caught.value.exit_code == 2
    with bind("0.0.0.0", 0, key=True) as listener:
        assert url(listener).startswith("http://0.0.0.0:")


def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio sets TCP_NODELAY by


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="in use") as caught:
            bind("127.0.0.1", taken.getsockname()[1])
        assert caught.value.field == "--port"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="no such port"):
        bind("127.0.0.1", port)


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        bind("no such host", 0)
    assert caught.value.field == "--host"
