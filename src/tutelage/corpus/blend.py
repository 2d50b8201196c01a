"""Documents of several sources as one corpus, each source in its share.

Two passes: the first measures every document, in UTF-8 bytes; the second writes. Of a source that
is not read whole a random part is taken, the documents with the smallest hash of the seed and their
number, so that it is neither its beginning nor its shortest texts. Sources are interleaved, so that
at any place of the result each has had its share up to one document.

Memory: 16 bytes a document.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tutelage.corpus.documents import Document
from tutelage.corpus.mix import Share
from tutelage.corpus.pipeline import Pipeline, Tally
from tutelage.corpus.sources import Source
from tutelage.errors import DataError
from tutelage.progress import Progress, silent


@dataclass(frozen=True)
class Measured:
    """A source with the bytes of each of its documents."""

    name: str
    source: Source
    sizes: np.ndarray

    @property
    def size(self) -> int:
        return int(self.sizes.sum())


def measure(name: str, source: Source, progress: Progress = silent) -> Measured:
    """Read a source once. Raises DataError if it holds no document."""
    sizes = array("q", (len(d.text.encode("utf-8")) for d in Pipeline(source, (), progress)))
    if not sizes:
        raise DataError(f"{source.name} holds no document", field=source.name)
    return Measured(name, source, np.array(sizes))


class Blend:
    """Iterating gives the documents; afterwards `tallies` counts, and `written` holds the bytes.

    A row counts once for each time it is read. A document read again has its round in its id.
    """

    def __init__(
        self, measured: Sequence[Measured], shares: Sequence[Share], seed: int,
        progress: Progress = silent,
    ) -> None:  # fmt: skip
        self._measured = {one.name: one for one in measured}
        self._shares = {one.name: one for one in shares}
        self._seed = seed
        self._progress = progress
        self.tallies = [Tally("read"), *(Tally(name) for name in self._measured)]
        self.written: dict[str, int] = dict.fromkeys(self._measured, 0)

    def __iter__(self) -> Iterator[Document]:
        streams = {
            name: self._stream(one, tally)
            for (name, one), tally in zip(self._measured.items(), self.tallies[1:], strict=True)
        }
        yield from interleaved(streams, {n: s.taken for n, s in self._shares.items()}, self.written)
        self._total()

    def _stream(self, one: Measured, tally: Tally) -> Iterator[Document]:
        epochs = self._shares[one.name].epochs
        whole = int(epochs + 1e-9)
        rest = (epochs - whole) * one.size
        for turn in range(whole + (rest > 0.5)):
            chosen = None if turn < whole else part(one, rest, self._seed)
            yield from self._round(one, turn, chosen, tally)

    def _round(
        self, one: Measured, turn: int, chosen: np.ndarray | None, tally: Tally
    ) -> Iterator[Document]:
        pipeline = Pipeline(one.source, (), self._progress)
        for number, document in enumerate(pipeline):
            tally.rows_in += 1
            tally.characters_in += len(document.text)
            if chosen is not None and not chosen[number]:
                tally.left_out("beyond-its-share", document.where, document.text)
                continue
            tally.rows_out += 1
            tally.characters_out += len(document.text)
            yield replace(document, id=f"{document.id}@{turn + 1}") if turn else document
        _add(self.tallies[0], pipeline.tallies[0])

    def _total(self) -> None:
        """The steps follow one another in a report, so all sources become one step."""
        total = Tally("shares")
        for tally in self.tallies[1:]:
            _add(total, tally)
        self.tallies[1:] = [total]


def interleaved(
    streams: Mapping[str, Iterator[Document]], targets: Mapping[str, float],
    written: dict[str, int],
) -> Iterator[Document]:  # fmt: skip
    """Documents of all streams, always of the one that lags behind its target most; `written`
    counts its bytes."""
    left = dict(streams)
    while left:
        name = min(left, key=lambda n: (written[n] / targets[n], n))
        document = next(left[name], None)
        if document is None:
            del left[name]
            continue
        written[name] += len(document.text.encode("utf-8"))
        yield document


def part(one: Measured, size: float, seed: int) -> np.ndarray:
    """Which documents make up about `size` bytes: a random part, the same for the same seed, at
    least one document, off by at most half a document."""
    keys = np.array([_key(seed, one.name, number) for number in range(len(one.sizes))], "u8")
    order = np.argsort(keys, kind="stable")
    sums = np.cumsum(one.sizes[order])
    count = int(np.searchsorted(sums - one.sizes[order] / 2, size))
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[: max(count, 1)]] = True
    return chosen


def _key(seed: int, name: str, number: int) -> int:
    text = f"{seed}\x1f{name}\x1f{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _add(total: Tally, one: Tally) -> None:
    total.rows_in += one.rows_in
    total.rows_out += one.rows_out
    total.characters_in += one.characters_in
    total.characters_out += one.characters_out
    total.reasons.update(one.reasons)
    for reason, shown in one.examples.items():
        total.examples.setdefault(reason, shown)
