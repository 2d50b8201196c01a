"""Answers that were searched for, as events: one request at a time, outside the engine's batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tutelage.backends.stream import AnswerStream
from tutelage.decoding import Beam, Contrastive
from tutelage.generate.beam import Found, beam_search
from tutelage.generate.contrastive import contrastive_search
from tutelage.generate.job import Job
from tutelage.lm import Completion, Event, Piece
from tutelage.models.forward import Model


def searched(
    model: Model,
    job: Job,
    search: Beam | Contrastive,
    streamed: Callable[[], AnswerStream],
    stopped: Callable[[], bool],
) -> Iterator[Event | None]:
    """Pieces of the best answer, then its Completion with the next best ones; before them None for
    each step. `streamed` makes an empty stream of the request's. A stop text cuts an answer that
    was found; it guides no search.
    """
    if isinstance(search, Contrastive):
        yield from _contrastive(model, job, search, streamed(), stopped)
        return
    decode = streamed().tokenizer.decode
    found = yield from beam_search(model, job, search, decode, stopped)
    pieces, best = _said(found[0], streamed())
    others = tuple(_said(one, streamed())[1] for one in found[1:])
    yield from pieces
    yield replace(best, others=others)


def _contrastive(
    model: Model, job: Job, search: Contrastive, stream: AnswerStream, stopped: Callable[[], bool]
) -> Iterator[Event]:
    for token in contrastive_search(model, job, search, stopped):
        if token.token is not None:
            yield from stream.push(token.token)
        if token.finish is not None or stream.finished:
            yield from stream.end(token.finish or "stop")
            return


def _said(found: Found, stream: AnswerStream) -> tuple[list[Piece], Completion]:
    """An answer's tokens as text."""
    events: list[Event] = []
    for token in found.tokens:
        if not stream.finished:
            events += stream.push(token)
    events += stream.end(found.finish)
    completion = events.pop()
    assert isinstance(completion, Completion)
    return [e for e in events if isinstance(e, Piece)], replace(completion, score=found.score)
