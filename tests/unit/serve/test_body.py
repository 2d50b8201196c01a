"""What is done with a body: strict JSON, sizes, types; never a 500 for a client's mistake."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tutelage.backends.scripted import ScriptedLM
from tutelage.serve.body import parse
from tutelage.serve.faults import Fault
from tutelage.serve.service import Limits

from .serving import SECONDS, serving

SUITE = Path(__file__).parents[4] / "shared/data/hostile/json_test_suite/test_parsing"
ROUTES = ("/v1/chat/completions", "/v1/completions")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with (
        serving({"model": ScriptedLM([])}, limits=Limits(body_bytes=300_000)) as address,
        httpx2.Client(base_url=address, timeout=SECONDS) as client,
    ):
        yield client


def post(client: httpx2.Client, body: bytes, route: str = ROUTES[0]) -> httpx2.Response:
    return client.post(route, content=body, headers=JSON)


@pytest.mark.parametrize("route", ROUTES)
def test_hostile_json_is_the_clients_fault(client: httpx2.Client, route: str) -> None:
    if not SUITE.is_dir():
        pytest.skip("../shared/data/hostile is not here")
    files = sorted(SUITE.glob("*.json"))
    assert len(files) > 300
    for file in files:
        response = post(client, file.read_bytes(), route)
        assert response.status_code == 400, file.name
        code = response.json()["error"]["code"]
        if file.name.startswith("n_"):
            assert code == "invalid_json", file.name
    assert client.get("/health").status_code == 200


def test_good_json_of_the_suite_is_read() -> None:
    if not SUITE.is_dir():
        pytest.skip("../shared/data/hostile is not here")
    for file in sorted(SUITE.glob("y_*.json")):
        data = file.read_bytes()
        expected = json.loads(data)
        if not isinstance(expected, dict) or "duplicated" in file.name:
            continue
        assert parse(data) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model": NaN}',
        b'{"model": -Infinity}',
        b'{"a": 1, "a": 1}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 50_000,
        b"[" * 150_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_strict_json_is_refused(client: httpx2.Client, body: bytes) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"
    with pytest.raises(Fault):
        parse(body)


def chat(**fields: object) -> bytes:
    body = {"model": "model", "messages": [{"role": "user", "content": "hi"}]} | fields
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (chat(model=1), "model"),
        (chat(messages=[]), "messages"),
        (chat(messages="hi"), "messages"),
        (chat(messages=[{"role": "tool", "content": "x"}]), "messages.0.tool_call_id"),
        (chat(messages=[{"role": "function", "content": "x"}]), "messages.0.role"),
        (chat(messages=[{"role": "user"}]), "messages.0.content"),
        (chat(messages=[{"role": "user", "content": None}]), "messages.0.content"),
        (chat(messages=[{"role": "user", "content": "x", "nmae": 1}]), "messages.0.nmae"),
        (chat(temperature=1e400), "temperature"),
        (chat(stop=[1]), "stop"),
        (chat(stream="yes"), "stream"),
        (chat(stream_options={"include_usgae": True}), "stream_options.include_usgae"),
        (chat(prompt="hi"), "prompt"),
        (chat(functions=[]), "functions"),
    ],
)
def test_the_field_at_fault_is_named(client: httpx2.Client, body: bytes, param: str) -> None:
    body = body.replace(b"Infinity", b"1e400")
    response = post(client, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"].startswith(param) and param.rpartition(".")[2] in error["message"]


def test_a_body_too_large_is_refused_announced_or_not(client: httpx2.Client) -> None:
    large = b" " * 300_001
    announced = post(client, large)
    assert announced.status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield large[:150_000]

    unannounced = client.post(ROUTES[0], content=parts(), headers=JSON)
    assert unannounced.status_code == 413
    assert post(client, chat(user="x") + b" " * 100_000).status_code != 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken_so_that_web_pages_cannot_post(client: httpx2.Client, kind: str) -> None:
    response = client.post(ROUTES[0], content=chat(), headers={"Content-Type": kind})
    assert response.status_code == 415


def test_a_client_that_leaves_in_mid_body_harms_nobody(client: httpx2.Client) -> None:
    raw = http.client.HTTPConnection(client.base_url.host, client.base_url.port, SECONDS)
    raw.putrequest("POST", ROUTES[0])
    raw.putheader("Content-Type", "application/json")
    raw.putheader("Content-Length", "1000")
    raw.endheaders(b'{"model": ')
    raw.close()
    assert client.get("/health").status_code == 200


def test_values_are_not_repeated_in_errors(client: httpx2.Client) -> None:
    response = post(client, chat(max_tokens="my secret prompt"))
    assert response.status_code == 400 and "secret" not in response.text
