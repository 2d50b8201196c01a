"""Texts to the rows of one model with a head: which tokens it reads, and where each came from.

    encoder           [CLS] first [SEP] second [SEP]     the first token decides
    decoder           first, a line's end, second        the last token decides
    encoder-decoder   both read it; the decoder's last   shifted by its start token

Nothing is cut: a row that is longer than the context is told by its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.reading import Virtual
from tutelage.data.pack import Example
from tutelage.models.catalogue import shape, spec_for
from tutelage.models.spec import Family
from tutelage.text.tokenizer import Tokenizer

Marks = tuple[tuple[int, ...], tuple[int, ...]]
Span = tuple[int, int, int]
"""Place of a token in its row, and first and behind-last character of the text it came from."""


@dataclass(frozen=True)
class Coded:
    """A row's tokens, and which of them came from where in its last text."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Coder:
    """One model's way. `virtual` are what an adapter puts before every row; `context` is what they
    leave, None where there is no limit."""

    tokenizer: Tokenizer
    family: Family
    context: int | None
    start: int | None
    virtual: Virtual = field(default_factory=Virtual)

    @classmethod
    def of(cls, checkpoint: Checkpoint, virtual: Virtual | None = None) -> Coder:
        found, virtual = shape(checkpoint.config), virtual or Virtual()
        context = None if found.context is None else found.context - len(virtual.ids)
        family = spec_for(checkpoint.config).family
        return cls(checkpoint.tokenizer, family, context, found.start, virtual)

    @property
    def causal(self) -> bool:
        """Whether a token is read without those behind it."""
        return self.family != "encoder"

    def coded(self, *texts: str) -> Coded:
        """One text, or two, as a row."""
        tokenizer, marks = self.tokenizer, self.tokenizer.pair_marks
        if len(texts) == 2 and marks is not None and not self.causal:
            return self._pair(texts[0], texts[1], marks)
        before = "".join(f"{text}\n" for text in texts[:-1])
        found = tokenizer.encode_spans(before + texts[-1])
        first = len(self.virtual.ids) + len(tokenizer.prefix)
        spans = [
            (first + place, max(start - len(before), 0), end - len(before))
            for place, (_, start, end) in enumerate(found)
            if end > len(before)
        ]
        ids = (*tokenizer.prefix, *(id for id, _, _ in found), *tokenizer.suffix)
        return Coded((*self.virtual.ids, *ids), (), tuple(spans))

    def _pair(self, first: str, second: str, marks: Marks) -> Coded:
        tokenizer, (middle, kinds) = self.tokenizer, marks
        before = (*self.virtual.ids, *tokenizer.prefix)
        begin = (*before, *tokenizer.encode_plain(first), *middle)
        found = tokenizer.encode_spans(second)
        ids = (*begin, *(id for id, _, _ in found), *tokenizer.suffix)
        types = (kinds[0],) * len(begin) + (kinds[1],) * (len(ids) - len(begin))
        spans = [(len(begin) + n, start, end) for n, (_, start, end) in enumerate(found)]
        return Coded(ids, types if any(types) else (), tuple(spans))

    def deciding(self, row: Coded) -> int:
        """The place whose vector stands for the whole row: of an encoder the first that has a
        vector of its own, which deep virtual tokens have not."""
        first = len(self.virtual.ids) if self.virtual.deep else 0
        return len(row.ids) - 1 if self.causal else first

    def fits(self, row: Coded) -> bool:
        """Whether the context holds it, and there is anything to read."""
        length = len(row.ids) - len(self.virtual.ids)
        return length >= 1 and (self.context is None or length <= self.context)

    def example(
        self, row: Coded, at: Sequence[int], labels: Sequence[float],
        weight: float = 1.0, name: str = "", terms: int | None = None,
        beside: Sequence[Example] = (),
    ) -> Example:  # fmt: skip
        """What a model reads, and what the vectors at these places are to give."""
        ids, lead = row.ids, 0 if self.causal else len(row.ids)
        memory: tuple[int, ...] = ()
        if self.start is not None:
            ids, memory, at = self._both(row.ids, at)
        return Example(
            ids, tuple(at), tuple(labels), weight, name, memory, row.types, lead, terms,
            tuple(beside),
        )  # fmt: skip

    def _both(
        self, ids: tuple[int, ...], at: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...], Sequence[int]]:
        """What decoder and encoder read, virtual tokens in one of them, and where these places are
        in the decoder."""
        assert self.start is not None
        virtual, count = self.virtual.ids, len(self.virtual.ids)
        own = (self.start, *ids[count:-1])
        if self.virtual.deep:
            return (*virtual, *own), ids[count:], at
        return own, ids, [place - count for place in at]

    def own(self, example: Example) -> list[int]:
        """What is read of a row but for virtual tokens."""
        return [id for id in example.memory or example.ids if id not in self.virtual.ids]
