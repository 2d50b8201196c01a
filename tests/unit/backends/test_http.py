"""The model behind a server: equal to the model itself, and clear about what goes wrong."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tutelage.backends.http import HttpLM
from tutelage.backends.scripted import ScriptedLM
from tutelage.backends.wire import Wire
from tutelage.errors import ConfigError, RequestError, SourceError, WorkError
from tutelage.lm import Completion, Message, Piece, Request, Sampling, complete
from tutelage.serve.run import HttpServer, bind, url

KEY = "sk-secret-key"
USER = (Message("system", "be brief"), Message("user", "the capital, please"))


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> ScriptedLM:
    path = tmp_path_factory.mktemp("script") / "script.jsonl"
    rules = [("capital", "Paris, mon ami, żółć 🦊."), ("silence", ""), ("^(\\d+)$", "a number")]
    lines = [json.dumps({"match": match, "reply": reply}) for match, reply in rules]
    path.write_text("\n".join(lines))
    return ScriptedLM.open(path)


@pytest.fixture(scope="module")
def address(scripted: ScriptedLM) -> Iterator[str]:
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = HttpServer({"model": scripted}, listener, key=KEY)
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        try:
            assert ready.wait(120)
            yield url(listener) + "/v1"
        finally:
            server.stop()
            server.stop()
            thread.join(120)


REQUESTS = [
    Request(USER),
    Request("the capital", max_new_tokens=2),
    Request("silence"),
    Request("the capital", stop=(",",)),
    Request("the capital", sampling=Sampling(0.7, 5, 0.9, 3)),
    *(Request(str(number)) for number in range(20)),
]


def test_many_at_once_equal_the_model_itself(scripted: ScriptedLM, address: str) -> None:
    assert complete(HttpLM(address, "model", key=KEY), REQUESTS) == complete(scripted, REQUESTS)


@pytest.mark.parametrize("request_", REQUESTS[:5])
def test_a_stream_equals_the_model_itself(
    scripted: ScriptedLM, address: str, request_: Request
) -> None:
    lm = HttpLM(address, "model", key=KEY)
    assert list(lm.generate([request_])) == list(scripted.generate([request_]))


def test_cancelling_a_stream_ends_it(address: str) -> None:
    lm = HttpLM(address, "model", key=KEY)
    events = list(lm.generate([Request(USER)], cancelled=lambda index: True))
    assert [event.finish_reason for event in events if isinstance(event, Completion)] == [
        "cancelled"
    ]
    assert not any(isinstance(event, Piece) for event in events)


def test_capabilities_are_asked_for(address: str) -> None:
    found = HttpLM(address, "model", key=KEY).capabilities()
    assert (found.chat, found.score, found.embed, found.context) == (True, False, False, None)


@pytest.mark.parametrize("key", [None, "sk-wrong-key"])
def test_a_refused_key_is_not_shown(address: str, key: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        complete(HttpLM(address, "model", key=key), [Request("1")])
    assert caught.value.field == "--api-key-file"
    assert "sk-" not in str(caught.value)


def test_an_unknown_model_is_named_with_those_served(address: str) -> None:
    with pytest.raises(SourceError, match="did you mean 'model'"):
        complete(HttpLM(address, "modle", key=KEY), [Request("1")])


def test_what_the_server_refuses_is_the_requests_fault(address: str) -> None:
    with pytest.raises(RequestError, match="max_tokens"):
        complete(HttpLM(address, "model", key=KEY), [Request("1", max_new_tokens=10**7)])


def test_a_failing_server_is_our_failure(address: str) -> None:
    with pytest.raises(WorkError, match="could not answer"):
        complete(HttpLM(address, "model", key=KEY), [Request("no rule for this"), Request("1")])


def test_nothing_listening_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(SourceError, match="nothing answers"):
            complete(HttpLM(address, "model"), [Request("1")])


Handler = Callable[[httpx2.Request], httpx2.Response]


def planted(handler: Handler, waits: list[float] | None = None, key: str | None = None) -> HttpLM:
    """A model behind answers that the test writes."""
    slept = [] if waits is None else waits
    wire = Wire(
        "http://planted/v1", key=key, sleep=slept.append, transport=httpx2.MockTransport(handler)
    )
    return HttpLM("", "m", wire=wire)


def answer(text: str, finish: str | None = "stop") -> httpx2.Response:
    return httpx2.Response(200, json={"choices": [{"text": text, "finish_reason": finish}]})


TWO = [Request("a"), Request("b")]


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    replies = [
        httpx2.Response(429, headers={"Retry-After": "7"}),
        httpx2.Response(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
        httpx2.Response(503),
        answer("done"),
    ]
    waits: list[float] = []
    lm = planted(lambda request: replies.pop(0), waits)
    found = [lm._whole(0, Request("a"), lambda _: False)]
    assert found[0].text == "done"
    assert waits[0] == 7
    assert 0.5 <= waits[1] <= 60 and 2 <= waits[2] <= 3


def test_a_server_busy_for_ever_fails_in_the_end() -> None:
    waits: list[float] = []
    lm = planted(lambda request: httpx2.Response(503, json={"error": {"message": "full"}}), waits)
    with pytest.raises(WorkError, match="busy: full"):
        lm._whole(0, Request("a"), lambda _: False)
    assert len(waits) == 4


def test_a_dropped_connection_is_tried_again() -> None:
    tries: list[int] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        tries.append(1)
        if len(tries) == 1:
            raise httpx2.RemoteProtocolError("gone", request=request)
        return answer("done")

    assert planted(handler)._whole(0, Request("a"), lambda _: False).text == "done"


def test_a_silent_server_is_named() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("slow", request=request)

    with pytest.raises(WorkError, match="fell silent"):
        complete(planted(handler), TWO)


def test_the_key_is_kept_out_of_what_a_server_says() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        said = f"bad request with {request.headers['authorization']}"
        return httpx2.Response(400, json={"error": {"message": said}})

    with pytest.raises(RequestError) as caught:
        complete(planted(handler, key=KEY), TWO)
    assert "Bearer (key)" in str(caught.value) and KEY not in str(caught.value)


def test_redirects_are_not_followed() -> None:
    asked: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(302, headers={"Location": "http://elsewhere/v1/completions"})

    with pytest.raises(WorkError):
        complete(planted(handler, key=KEY), TWO)
    assert set(asked) == {"planted"}


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"choices": []}),
        httpx2.Response(200, json={}),
        httpx2.Response(200, text="[" * 100_000),
        httpx2.Response(500, text="<html>"),
        answer("cut off", finish=None),
        answer("cut off", finish="content_filter"),
    ],
)
def test_an_answer_that_is_none_is_an_error(response: httpx2.Response) -> None:
    with pytest.raises(WorkError):
        planted(lambda request: response)._whole(0, Request("a"), lambda _: False)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('data: {"choices": [{"text": "a"}]}\n\n', "broke off"),
        ('data: {"choices": [{"text": "a"}]}\n\ndata: {"error": {"message": "no"}}\n\n', "no"),
        ("data: {\n\n", "JSON"),
    ],
)
def test_a_stream_that_ends_early_is_an_error(lines: str, words: str) -> None:
    lm = planted(lambda request: httpx2.Response(200, text=lines))
    with pytest.raises(WorkError, match=words):
        list(lm.generate([Request("a")]))


def echoing(request: httpx2.Request) -> httpx2.Response:
    """A server whose tokens are single words with the space before them, each of probability 1/2,
    and whose likeliest token is always " yes"."""
    if request.url.path.endswith("/models"):
        return httpx2.Response(200, json={"data": [{"id": "m", "max_model_len": 64}]})
    body = json.loads(request.content)
    if request.url.path.endswith("/embeddings"):
        data = [{"index": i, "embedding": [len(t), 1]} for i, t in enumerate(body["input"])]
        return httpx2.Response(200, json={"data": data[::-1]})
    assert body["echo"] is True and body["max_tokens"] == 0
    offsets = [i for i, c in enumerate(body["prompt"]) if c == " " or i == 0]
    ends = [*offsets[1:], len(body["prompt"])]
    tokens = [body["prompt"][a:b] for a, b in zip(offsets, ends, strict=True)]
    half = math.log(0.5)
    found = {
        "tokens": tokens,
        "text_offset": offsets,
        "token_logprobs": [None] + [half] * (len(tokens) - 1),
        "top_logprobs": [None] + [{" yes": half if t == " yes" else -0.1} for t in tokens[1:]],
    }
    choice = {"text": body["prompt"], "logprobs": found, "finish_reason": "length"}
    return httpx2.Response(200, json={"choices": [choice]})


def test_scores_are_the_sum_over_the_continuation() -> None:
    lm = planted(echoing)
    assert lm.capabilities().score and lm.capabilities().embed
    assert lm.capabilities().context == 64
    one, two = lm.score([("is it so?", " yes"), ("is it so?", " yes no")])
    assert (one.tokens, one.greedy) == (1, True)
    assert one.log_probability == pytest.approx(math.log(0.5))
    assert (two.tokens, two.greedy) == (2, False)
    assert two.log_probability == pytest.approx(2 * math.log(0.5))


@pytest.mark.parametrize(
    ("context", "continuation"), [("is it so? ", "yes"), ("", "yes"), ("is it", "")]
)
def test_a_continuation_that_has_no_own_tokens_is_refused(context: str, continuation: str) -> None:
    with pytest.raises(RequestError):
        planted(echoing).score([(context, continuation)])


def test_messages_have_no_score_there() -> None:
    with pytest.raises(RequestError, match="template"):
        planted(echoing).score([(USER, "yes")])


def test_embeddings_keep_the_order_of_the_texts() -> None:
    texts = ["x" * n for n in range(150)]
    assert planted(echoing).embed(texts) == [[float(n), 1.0] for n in range(150)]


def test_opening_needs_no_torch(tmp_path: Path) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "reply": "hi"}')
    code = (
        "import sys; from tutelage.backends.open import open_lm; "
        f"open_lm('scripted:{script}'); open_lm('http://127.0.0.1:1/v1#m'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
