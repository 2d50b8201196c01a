"""Documents through steps, one after another, with a count of what each step let pass and why not.

A step is a function with a name: it gives back the document, perhaps changed, or the reason for
which it is left out. Reading is the first step: a row that cannot be read is left out for a reason
too, so for every step, and for all together,

    rows in = rows out + the sum of the reasons

Knows neither files nor what any step does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tutelage.corpus.documents import Document
from tutelage.data.rows import SetAside
from tutelage.progress import Progress, silent

EXAMPLES = 3
SHOWN = 200
"""Characters of an example that a report shows."""
EVERY = 64
"""Documents between two words of progress."""


class Step(Protocol):
    """One step of a pipeline."""

    @property
    def name(self) -> str: ...

    def __call__(self, document: Document) -> Document | str:
        """The document, the same or changed, or the reason for which it is left out."""
        ...


@dataclass
class Tally:
    """What one step did. Characters are those of the texts."""

    name: str
    rows_in: int = 0
    rows_out: int = 0
    characters_in: int = 0
    characters_out: int = 0
    changed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """Reason -> the first few that were left out for it."""

    def left_out(self, reason: str, where: str, text: str) -> None:
        self.reasons[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append({"where": where, "text": text[:SHOWN]})

    def as_json(self) -> dict[str, Any]:
        return {
            **{key: value for key, value in vars(self).items() if key != "reasons"},
            "reasons": dict(self.reasons.most_common()),
        }


class Pipeline:
    """Iterating gives the documents that passed all steps; `tallies` counts as it goes on."""

    def __init__(
        self,
        entries: Iterable[Document | SetAside],
        steps: Sequence[Step] = (),
        progress: Progress = silent,
    ) -> None:
        self._entries = entries
        self._steps = tuple(steps)
        self._progress = progress
        self.tallies = [Tally("read"), *(Tally(step.name) for step in self._steps)]

    def __iter__(self) -> Iterator[Document]:
        for number, entry in enumerate(self._entries, 1):
            document = self._read(entry)
            if document is not None:
                document = self._through(document)
            if document is not None:
                yield document
            if number % EVERY == 0:
                self._progress("documents", number, None)

    def _read(self, entry: Document | SetAside) -> Document | None:
        tally = self.tallies[0]
        tally.rows_in += 1
        if isinstance(entry, SetAside):
            tally.left_out(entry.reason, entry.where, entry.detail)
            return None
        tally.rows_out += 1
        tally.characters_in += len(entry.text)
        tally.characters_out += len(entry.text)
        return entry

    def _through(self, document: Document) -> Document | None:
        for step, tally in zip(self._steps, self.tallies[1:], strict=True):
            tally.rows_in += 1
            tally.characters_in += len(document.text)
            found = step(document)
            if not isinstance(found, str) and not found.text.strip():
                found = "empty-text"  # nothing was left of it by what the step took away
            if isinstance(found, str):
                tally.left_out(found, document.where, document.text)
                return None
            tally.rows_out += 1
            tally.characters_out += len(found.text)
            tally.changed += found is not document
            document = found
        return document
