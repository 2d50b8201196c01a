"""The one thread that owns the models, and the bounded line of those who wait for it.

One generation at a time: a `Ticket` waits its turn, then its events cross to the event loop of the
client that asked. Nothing here blocks that loop. A cancelled ticket leaves the line at once, and a
running one ends at the model's next step. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from tutelage.lm import LM, Request
from tutelage.serve.faults import shutting_down, too_busy

Work = Callable[[Callable[[], bool]], Iterator[Any]]
"""What a ticket waits for, done in the worker's thread; it asks whether it is cancelled."""


def answering(lm: LM, prepare: Callable[[], Sequence[Request]]) -> Work:
    """The work of answering requests, built in the worker's thread: counting tokens takes long."""
    return lambda cancelled: lm.generate(list(prepare()), lambda _: cancelled())


class Ticket:
    """One client's place in the line, and the way its events come back."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._crossing: asyncio.Queue[Any] = asyncio.Queue()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits for this answer any more."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    async def events(self) -> AsyncIterator[Any]:
        """The work's results as they come. Raises what it raised."""
        while (event := await self._crossing.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def run(self) -> None:
        """Answer, in the calling thread."""
        try:
            for event in self._answers():
                self._send(event)
            self._send(None)
        except BaseException as error:
            self.refuse(error)

    def refuse(self, error: BaseException) -> None:
        """End the ticket with an error; callable from any thread."""
        self._send(error)

    def _answers(self) -> Iterator[Any]:
        if not self.cancelled:
            yield from self._work(self._cancelled.is_set)

    def _send(self, event: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._crossing.put_nowait, event)


class Worker:
    """A thread that answers tickets in the order they came."""

    def __init__(self, waiting: int) -> None:
        self._limit = waiting
        self._line: deque[Ticket] = deque()
        self._running: Ticket | None = None
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closed

    @property
    def waiting(self) -> int:
        """How many tickets stand in the line, without the one being answered."""
        with self._change:
            return sum(not ticket.cancelled for ticket in self._line)

    @property
    def running(self) -> int:
        """1 while a ticket is being answered."""
        with self._change:
            return int(self._running is not None)

    def submit(self, ticket: Ticket) -> None:
        """Put the ticket in the line. Raises Fault 503 where the line is full or closed."""
        with self._change:
            if self._closed:
                raise shutting_down()
            for gone in [waiting for waiting in self._line if waiting.cancelled]:
                self._line.remove(gone)
                gone.run()
            if self._running is not None and len(self._line) >= self._limit:
                raise too_busy()
            self._line.append(ticket)
            self._change.notify_all()

    def close(self, seconds: float = 10.0) -> None:
        """Refuse whoever waits, stop the running answer at its next step, end the thread."""
        with self._change:
            self._closed = True
            while self._line:
                self._line.popleft().refuse(shutting_down())
            if self._running is not None:
                self._running.cancel()
            self._change.notify_all()
        self._thread.join(seconds)

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            ticket.run()

    def _next(self) -> Ticket | None:
        with self._change:
            self._running = None
            while not self._line and not self._closed:
                self._change.wait()
            if self._closed:
                return None
            self._running = self._line.popleft()
            return self._running
