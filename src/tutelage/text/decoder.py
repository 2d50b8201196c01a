"""Token ids to text as they arrive, never ending inside a character.

A character may take several tokens (byte-level vocabularies, byte fallback), and some vocabularies
write a space differently at the start of a text. So a few past ids are kept as context, and text
that ends in an unfinished character waits. Concatenated pushes and flush equal the decoding of all
ids, whenever these are text (of bytes that are none, at most the number of U+FFFD differs). Knows
nothing of vocabularies: it is handed a decode function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

UNFINISHED = "\ufffd"
LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character, hence tokens: every token holds at least one byte."""


class Decoder:
    """One stream of text out of one stream of ids."""

    def __init__(self, decode: Callable[[Sequence[int]], str], skip: Collection[int]) -> None:
        """`skip`: control ids, which have no text."""
        self._decode = decode
        self._skip = skip
        self._ids: list[int] = []
        self._emitted = 0  # how many of _ids are already text; they stay as context

    def push(self, id: int) -> str:
        """The text that became certain with this id; often empty in the middle of a character."""
        if id in self._skip:
            return ""
        self._ids.append(id)
        pending = len(self._ids) - self._emitted
        text = self._text(len(self._ids))
        if not text.endswith(UNFINISHED):
            return self._emit(len(self._ids), text)
        if pending > 2 * LONGEST_CHARACTER:  # bytes that are no UTF-8: never hold without bound
            return self._emit_certain(text)
        return ""

    def flush(self) -> str:
        """What is left, unfinished characters as U+FFFD. The stream starts anew afterwards."""
        text = self._text(len(self._ids))
        self._ids, self._emitted = [], 0
        return text

    def _text(self, end: int) -> str:
        """Text of the ids from the emitted ones up to `end`, in the context of those before."""
        known = self._decode(self._ids[: self._emitted])
        text = self._decode(self._ids[:end])
        if text.startswith(known):
            return text[len(known) :]
        # Byte fallback decodes a run of bytes as a whole or not at all: a bad one spoils the run.
        return self._decode(self._ids[self._emitted : end])

    def _emit(self, end: int, text: str) -> str:
        # The ids of the last emission stay as context: whole characters, so they decode alone.
        if not text:
            return ""
        self._ids, self._emitted = self._ids[self._emitted :], end - self._emitted
        return text

    def _emit_certain(self, whole: str) -> str:
        """Emit what a further id cannot change: cut where the parts decode to the whole."""
        for end in range(len(self._ids) - LONGEST_CHARACTER, self._emitted, -1):
            head = self._text(end)
            rest = Decoder(self._decode, self._skip)
            rest._ids, rest._emitted = self._ids[self._emitted :], end - self._emitted
            if head + rest._text(len(rest._ids)) == whole:
                return self._emit(end, head)
        return ""
