"""Chat templates, rendered where they can do no harm: in a child process under caps.

A template is a program that came with a model. `chat_child.py` runs it in jinja2's immutable
sandbox with caps on memory, processor time and output; the child lives on between calls, and a call
carries many conversations, so that a thousand rows cost little more than their rendering. A child
that the kernel ended is replaced before the next conversation. Knows nothing of tokens.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import RequestError
from tutelage.lm import Calling, Message, Offer

FRAME_CHARACTERS = 500_000
"""Conversations sent at once: few enough that the request itself stays far below the memory cap."""

PATIENCE = 3
"""Children one call may lose before it gives up on the rest."""


class TemplateError(RequestError):
    """The model's chat template is at fault, or refuses these messages."""

    kind = "template"


ENDED: dict[str, Any] = {
    "ended": True,
    "error": "time",
    "why": "it was stopped, having used more time or memory than it may",
}
GIVEN_UP = {"error": "time", "why": f"it had to be stopped {PATIENCE} times before"}
WAIT_SECONDS = 0.1
"""Patience is counted in waits of this length: however long both processes are stopped (Ctrl-Z, a
machine asleep), it is one wait, and no fault of the template."""


@dataclass(frozen=True)
class Limits:
    """What one rendering may use."""

    cpu_seconds: float = 0.5
    wall_seconds: float = 5.0
    """Only a backstop, for a child that does nothing: a template has no way to pass time but by
    using a processor, and time in which the child waits for one does not count (on Linux, which
    says so)."""
    memory: int = 96_000_000
    """Bytes above those of the idle child."""
    output: int = 1_000_000
    """Characters."""


@dataclass(frozen=True)
class Conversation:
    """What one rendering is given; `prompted` adds the opening of the assistant's next turn."""

    messages: tuple[Message, ...]
    prompted: bool

    def as_json(self) -> dict[str, Any]:
        turns = [_turn(turn) for turn in self.messages if not isinstance(turn, Offer)]
        found = {"messages": turns, "add_generation_prompt": self.prompted}
        for turn in self.messages:
            if isinstance(turn, Offer):
                found["tools"] = json.loads(turn.tools)
        return found

    @property
    def characters(self) -> int:
        return sum(len(text) for turn in self.messages for text in vars(turn).values())


def _turn(turn: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if isinstance(turn, Calling):
        found["tool_calls"] = json.loads(turn.calls)
    return found


class ChatTemplate:
    """One template, its variables (bos_token ...) and the process that renders it."""

    def __init__(
        self, template: str, variables: Mapping[str, str], limits: Limits | None = None
    ) -> None:
        self._template = template
        self._variables = dict(variables)
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stop: weakref.finalize[..., Any] | None = None
        self._lost = 0

    def render(self, conversation: Conversation) -> str:
        """One rendering. Raises TemplateError."""
        result = self.render_each([conversation])[0]
        if isinstance(result, TemplateError):
            raise result
        return result

    def render_each(self, conversations: Sequence[Conversation]) -> list[str | TemplateError]:
        """All renderings in order; a failed one does not disturb the others."""
        with self._lock:
            self._lost = 0
            return [
                result for batch in self._batches(conversations) for result in self._render(batch)
            ]

    def close(self) -> None:
        """End the child; the next rendering starts another."""
        if self._stop is not None:
            self._stop()
        self._child = self._stop = None

    def _batches(self, conversations: Sequence[Conversation]) -> Iterator[list[Conversation]]:
        batch: list[Conversation] = []
        size = 0
        for conversation in conversations:
            if batch and size + conversation.characters > FRAME_CHARACTERS:
                yield batch
                batch, size = [], 0
            batch.append(conversation)
            size += conversation.characters
        if batch:
            yield batch

    def _render(self, batch: list[Conversation]) -> Iterator[str | TemplateError]:
        """Send the batch; whenever the child dies over one, go on with the rest in a new child."""
        waiting = batch
        while waiting:
            if waiting[0].characters > self._limits.output:
                yield self._error({"error": "output", "why": "the messages alone are too long"})
                waiting = waiting[1:]
                continue
            if self._lost >= PATIENCE:
                yield self._error(GIVEN_UP)
                waiting = waiting[1:]
                continue
            done = 0
            for reply in self._replies(waiting):
                done += 1
                yield reply["text"] if "text" in reply else self._error(reply)
            waiting = waiting[done:]

    def _replies(self, waiting: list[Conversation]) -> Iterator[dict[str, Any]]:
        """Replies to at least the first conversation; stops early where the child ended."""
        fitting = [c for c in waiting if c.characters <= self._limits.output]
        fitting = fitting if len(fitting) == len(waiting) else waiting[:1]
        failure = self._start()
        if failure is None:
            failure = self._send([conversation.as_json() for conversation in fitting])
        if failure is not None:
            self._lose()
            yield failure
            return
        for _ in fitting:
            reply = self._receive(self._limits.wall_seconds)
            if reply.get("ended"):
                self._lose()
                yield reply
                return
            yield reply

    def _lose(self) -> None:
        self.close()
        self._lost += 1

    def _start(self) -> dict[str, Any] | None:
        """Have a child that has compiled the template; the failure if there can be none."""
        if self._child is not None:
            return None
        found = importlib.util.find_spec("jinja2")
        assert found is not None and found.origin is not None
        child = subprocess.Popen(
            [
                sys.executable,
                "-I",
                str(Path(__file__).with_name("chat_child.py")),
                str(Path(found.origin).parent.parent),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
        )
        self._child = child
        self._stop = weakref.finalize(self, _end, child)
        setup = {"template": self._template, "variables": self._variables, **asdict(self._limits)}
        failure = self._send(setup)
        if failure is not None:
            return failure
        reply = self._receive(30.0)
        return None if reply.get("ready") else reply

    def _send(self, value: Any) -> dict[str, Any] | None:
        assert self._child is not None and self._child.stdin is not None
        data = json.dumps(value).encode()
        try:
            self._child.stdin.write(struct.pack("<I", len(data)) + data)
            self._child.stdin.flush()
        except OSError:
            return _ended(self._child)
        return None

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._child is not None and self._child.stdout is not None
        waits = iter(range(round(seconds / WAIT_SECONDS)))
        header = _read(self._child, 4, waits)
        body = header and _read(self._child, struct.unpack("<I", header)[0], waits)
        if not body:
            return _ended(self._child)
        return dict(json.loads(body))

    def _error(self, reply: Mapping[str, Any]) -> TemplateError:
        return TemplateError(
            f"the model's chat template cannot be rendered: {reply['why']}",
            field="chat_template",
            got=reply["error"],
            hint="use --raw to give the model plain text, or give it another chat template",
        )


def _read(child: subprocess.Popen[bytes], count: int, waits: Iterator[int]) -> bytes:
    """`count` bytes, or b"" if the other end closed or all waits are over."""
    assert child.stdout is not None
    handle, data = child.stdout.fileno(), bytearray()
    while len(data) < count:
        if not select.select([handle], [], [], WAIT_SECONDS)[0]:
            if not wants_to_run(child.pid) and next(waits, None) is None:
                return b""
            continue
        piece = os.read(handle, min(count - len(data), 1 << 20))
        if not piece:
            return b""
        data += piece
    return bytes(data)


def wants_to_run(pid: int) -> bool:
    """Whether the process computes or waits for a processor; False where the system says neither.
    Such a one needs no other limit than that of its processor time."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["R"]  # proc(5): the name, then the state


def _ended(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    child.kill()
    child.wait()
    return ENDED


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a broken pipe flushes into nothing
                pipe.close()
