"""One thread that steps one running batch for callers in all other threads.

    loop.run(jobs, stopped)     the tokens of these jobs, whose rows join the others' between steps
    loop.call(function)         what it returns, between two steps: the model is then nobody else's

A caller's tokens wait for it in a line of its own, no longer than its answers: one that stops
reading holds up nobody, and its row is gone when its answer ends. One that leaves ends its rows
before the next step. The thread waits while there is nothing to do.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tutelage.generate.batch import Batch
from tutelage.generate.job import Job, Token
from tutelage.generate.places import Row

Result = TypeVar("Result")


@dataclass(eq=False)
class _Caller:
    """Whose jobs run; as a container it holds those that are to end."""

    jobs: Sequence[Job]
    stopped: Container[int]
    line: queue.SimpleQueue[Token | BaseException] = field(default_factory=queue.SimpleQueue)
    gone: bool = False

    def __contains__(self, index: object) -> bool:
        return self.gone or index in self.stopped


class Loop:
    """`open_batch` makes the batch, in the thread that steps it."""

    def __init__(self, open_batch: Callable[[], Batch]) -> None:
        self._open = open_batch
        self.batch: Batch | None = None
        self._arrived: deque[_Caller] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def run(self, jobs: Sequence[Job], stopped: Container[int] = ()) -> Iterator[Token]:
        """As `Engine.run`; whoever closes the iterator ends its jobs. Raises what a job's guide
        raised, and RuntimeError once the loop is closed."""
        caller = _Caller(jobs, stopped)
        with self._change:
            self._hold_open()
            self._arrived.append(caller)
            self._change.notify()
        left = len(jobs)
        try:
            while left:
                told = caller.line.get()
                if isinstance(told, BaseException):
                    raise told
                if told.error is not None:
                    raise told.error
                left -= told.finish is not None
                yield told
        finally:
            caller.gone = True

    def call(self, function: Callable[[], Result]) -> Result:
        """Raises what the function raises, and RuntimeError once the loop is closed."""
        found: Future[Result] = Future()
        with self._change:
            self._hold_open()
            self._calls.append((function, found))
            self._change.notify()
        return found.result()

    def close(self, seconds: float = 10.0) -> None:
        """End the thread after its step; who still waits is told."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(seconds)

    def _hold_open(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")

    def _work(self) -> None:
        of: dict[Row, _Caller] = {}
        try:
            self.batch = self._open()
            while self._wait(self.batch):
                try:
                    self._turn(self.batch, of)
                except Exception as error:  # as out of memory: who comes next is answered again
                    for caller in set(of.values()):
                        caller.line.put(error)
                    of.clear()
                    self.batch = None
                    self.batch = self._open()
            self._refuse(of, RuntimeError("the engine is closed"))
        except BaseException as error:
            self._refuse(of, error)

    def _turn(self, batch: Batch, of: dict[Row, _Caller]) -> None:
        self._join(batch, of)
        self._answer_calls()
        for row, token in batch.step():
            caller = of.pop(row) if token.finish is not None else of[row]
            caller.line.put(token)

    def _wait(self, batch: Batch) -> bool:
        """Until there is something to do; False where that is to end."""
        with self._change:
            while not (self._closed or self._arrived or self._calls or batch.busy):
                self._change.wait()
            return not self._closed

    def _join(self, batch: Batch, of: dict[Row, _Caller]) -> None:
        while self._arrived:
            caller = self._arrived.popleft()
            for index, job in enumerate(caller.jobs):
                of[batch.add(job, index, caller)] = caller

    def _answer_calls(self) -> None:
        """One of them: rows that are being answered do not wait for all."""
        if not self._calls:
            return
        function, found = self._calls.popleft()
        try:
            found.set_result(function())
        except BaseException as error:
            found.set_exception(error)

    def _refuse(self, of: dict[Row, _Caller], error: BaseException) -> None:
        """Tell everybody that nothing more comes."""
        with self._change:
            self._closed = True
            callers = {*of.values(), *self._arrived}
            calls = list(self._calls)
        for caller in callers:
            caller.line.put(error)
        for _, found in calls:
            found.set_exception(error)
