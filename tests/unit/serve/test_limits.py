"""Embeddings, counts for Prometheus, and how much one key may ask at once."""

from __future__ import annotations

import base64
import re
import struct
import threading

import httpx2
import openai
import pytest

from tutelage.backends.http import HttpLM
from tutelage.backends.key import read_keys
from tutelage.backends.local import LocalLM
from tutelage.backends.scripted import ScriptedLM
from tutelage.errors import ConfigError
from tutelage.serve.metrics import BUCKETS, Metrics
from tutelage.serve.service import Limits

from .serving import KEY, SECONDS, SteppedLM, eventually, get, post, serving

OTHER = "sk-other"
ASKED = {"model": "model", "prompt": "capital", "max_tokens": 3}


def asking(address: str, key: str = KEY) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return post(f"{address}/v1/completions", json=ASKED, headers=headers)


def test_embeddings() -> None:
    lm = LocalLM.open("preset:bert-tiny", device="cpu", dtype="fp32", threads=1)
    texts = ["a text", "another", "żółć"]
    with (
        serving({"model": lm, "script": ScriptedLM([])}) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        expected = lm.embed(texts)
        # The client asks for base64 unless told otherwise.
        found = client.embeddings.create(model="model", input=texts)
        plain = client.embeddings.create(model="model", input=texts[0], encoding_format="float")
        assert [one.index for one in found.data] == [0, 1, 2]
        for one, wanted in zip(found.data, expected, strict=True):
            assert one.embedding == pytest.approx(wanted, abs=1e-6)
        assert plain.data[0].embedding == pytest.approx(expected[0], abs=1e-6)
        assert found.usage.prompt_tokens == sum(map(lm.count_tokens, texts))
        raw = post(
            f"{address}/v1/embeddings",
            json={"model": "model", "input": "a text", "encoding_format": "base64"},
        ).json()["data"][0]["embedding"]
        assert struct.unpack(f"<{len(expected[0])}f", base64.b64decode(raw)) == pytest.approx(
            expected[0], abs=1e-6
        )
        assert HttpLM(f"{address}/v1", "model").embed(texts)[2] == pytest.approx(
            expected[2], abs=1e-6
        )
        for model, given, param in (
            ("script", "x", "model"),
            ("model", [], "input"),
            ("model", [1], "input"),
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                client.embeddings.create(model=model, input=given)
            assert caught.value.param == param
        with pytest.raises(openai.BadRequestError, match="does not fit"):
            client.embeddings.create(model="model", input="x" * 600)


def test_one_key_may_not_take_everything() -> None:
    lm = SteppedLM()
    with serving({"model": lm}, key=f"{KEY}\n{OTHER}", limits=Limits(per_key=2)) as address:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(asking(address).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        headers = {"Authorization": f"Bearer {KEY}"}
        eventually(lambda: "waiting 1" in get(f"{address}/metrics", headers=headers).text)
        refused = asking(address)
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert asking(address, "sk-wrong").status_code == 401
        other = threading.Thread(target=lambda: answers.append(asking(address, OTHER).status_code))
        other.start()
        for _ in range(20):
            lm.allowed.release()
        for thread in (*threads, other):
            thread.join(SECONDS)
        assert answers == [200] * 3
        assert asking(address).status_code == 200, "an answer gives its place back"


def test_what_is_counted(scripted: ScriptedLM) -> None:
    with serving({"model": scripted}) as address:
        assert asking(address).status_code == 200
        assert post(f"{address}/v1/completions", json={}).status_code == 400
        found = get(f"{address}/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    text = found.text
    for line in (
        "tutelage_prompt_tokens_total 1",
        "tutelage_generation_tokens_total 3",
        'tutelage_answers_total{finish_reason="length"} 1',
        'tutelage_responses_total{status="200"} 1',
        'tutelage_responses_total{status="400"} 1',
        "tutelage_request_seconds_count 2",
        "tutelage_time_to_first_token_seconds_count 1",
        "tutelage_requests_waiting 0",
    ):
        assert line in text.splitlines()
    assert "capital" not in text


def test_the_form_of_histograms() -> None:
    metrics = Metrics()
    for seconds in (0.005, 0.01, 0.02, 5.0, 1000.0):
        metrics.observe("x_seconds", seconds)
    metrics.count("y_total", 2, b="2", a="1")
    lines = metrics.text({"z": 1.5}).splitlines()
    counts = [int(line.split()[1]) for line in lines if line.startswith("x_seconds_bucket")]
    assert counts == sorted(counts) and len(counts) == len(BUCKETS) + 1
    assert (counts[0], counts[1], counts[-1]) == (2, 3, 5)
    assert 'y_total{a="1",b="2"} 2' in lines and "z 1.5" in lines
    for line in lines:
        assert line.startswith("# TYPE") or re.fullmatch(r"\w+(\{[^}]*\})? [0-9.e+]+", line)


def test_keys_of_several_clients(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "keys"
    file.write_text("one\ntwo\n")
    assert read_keys(file) == "one\ntwo"
    for text in ("", "one two", "one\n\ntwo"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            read_keys(file)
