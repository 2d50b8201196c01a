"""An answer as server-sent events, and the client who may hang up before its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from tutelage.lm import Completion, Event
from tutelage.serve.answers import DONE, Answer, sent
from tutelage.serve.faults import from_exception, shutting_down
from tutelage.serve.worker import Ticket


@asynccontextmanager
async def cancelled_when_gone(request: Request, ticket: Ticket) -> AsyncIterator[None]:
    """Cancel the ticket if the client hangs up within the block, or the block fails."""
    watch = asyncio.create_task(_wait_until_gone(request, ticket))
    try:
        yield
    except BaseException:
        ticket.cancel()
        raise
    finally:
        watch.cancel()


async def stream(
    request: Request,
    ticket: Ticket,
    first: Event | None,
    events: AsyncIterator[Event],
    answer: Answer,
    usage: bool,
) -> AsyncIterator[bytes]:
    """The stream's bytes; an error after its beginning becomes its last event."""
    try:
        async with cancelled_when_gone(request, ticket):
            async for part in _parts(first, events, answer, usage):
                yield part
    except Exception as error:
        yield sent(from_exception(error).as_json())


async def _parts(
    first: Event | None, events: AsyncIterator[Event], answer: Answer, usage: bool
) -> AsyncIterator[bytes]:
    done: list[Completion] = []
    for opening in answer.first():
        yield sent(opening)
    event = first
    while event is not None:
        if not isinstance(event, Completion):
            if not answer.held:
                yield sent(answer.piece(event))
        elif event.finish_reason == "cancelled":
            raise shutting_down()
        else:
            done.append(event)
            for end in answer.ends(event):
                yield sent(end)
        event = await anext(events, None)
    if usage:
        yield sent(answer.totals(done))
    yield DONE


async def _wait_until_gone(request: Request, ticket: Ticket) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ticket.cancel()
