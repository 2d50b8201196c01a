"""The threads that ask the models, and the bounded line of those who wait for one.

As many tickets are answered at once as the models bear (`Capabilities.together`); each waits its
turn, then its events cross to the event loop of the client that asked. Nothing here blocks that
loop. A cancelled ticket leaves the line at once, and a running one ends at the model's next step.
Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from tutelage.lm import LM, Request
from tutelage.serve.faults import shutting_down, too_busy

Work = Callable[[Callable[[], bool]], Iterator[Any]]
"""What a ticket waits for, done in the worker's thread; it asks whether it is cancelled."""


def answering(lm: LM, prepare: Callable[[], Sequence[Request]]) -> Work:
    """The work of answering requests, built in a worker's thread: counting tokens takes long."""
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
    """Answers tickets in the order they came, `together` of them at once, each in a thread of its
    own; the threads only wait, where one engine computes for all."""

    def __init__(self, waiting: int, together: int = 1) -> None:
        self._limit, self._together = waiting, together
        self._line: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._closed = False
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._start()

    @property
    def alive(self) -> bool:
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """How many tickets stand in the line, without those being answered."""
        with self._change:
            return sum(not ticket.cancelled for ticket in self._line)

    @property
    def running(self) -> int:
        """How many tickets are being answered."""
        with self._change:
            return len(self._running)

    def submit(self, ticket: Ticket) -> None:
        """Put the ticket in the line. Raises Fault 503 where the line is full or closed."""
        with self._change:
            if self._closed:
                raise shutting_down()
            for gone in [waiting for waiting in self._line if waiting.cancelled]:
                self._line.remove(gone)
                gone.run()
            free = self._together - len(self._running)
            if len(self._line) >= self._limit + free:
                raise too_busy()
            self._line.append(ticket)
            if len(self._line) > len(self._threads) - len(self._running):
                self._start()
            self._change.notify()

    def close(self, seconds: float = 10.0) -> None:
        """Refuse whoever waits, stop the running answers at their next step, end the threads."""
        with self._change:
            self._closed = True
            while self._line:
                self._line.popleft().refuse(shutting_down())
            for ticket in self._running:
                ticket.cancel()
            self._change.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _start(self) -> None:
        """One thread more, as long as there may be."""
        if len(self._threads) < self._together:
            name = f"answers {len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            try:
                ticket.run()
            finally:
                with self._change:
                    self._running.discard(ticket)

    def _next(self) -> Ticket | None:
        with self._change:
            while not self._line and not self._closed:
                self._change.wait()
            if self._closed:
                return None
            ticket = self._line.popleft()
            self._running.add(ticket)
            return ticket
