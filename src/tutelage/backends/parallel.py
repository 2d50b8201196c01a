"""A few calls at a time that wait for a network, answered in the order they end.

The threads are daemons: whoever stops listening (an error, Ctrl-C) is not kept waiting for answers
that are still under way, also not when the process ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> Iterator[tuple[int, Result]]:
    """`(number of the item, function(item))` as they end. Raises what the first failing call
    raised; calls not yet begun are then not made."""
    line = queue.SimpleQueue[tuple[int, Item]]()
    ended = queue.SimpleQueue[tuple[int, Result] | BaseException]()
    halt = threading.Event()
    total = 0
    for total, item in enumerate(items, start=1):
        line.put((total - 1, item))

    def work() -> None:
        while not halt.is_set():
            try:
                number, item = line.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, function(item)))
            except BaseException as error:
                ended.put(error)

    for _ in range(min(at_once, total)):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in range(total):
            found = ended.get()
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        halt.set()
